"""The reference engine: TRM written from its description, equal to upstream in numbers."""
