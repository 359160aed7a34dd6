"""What a checkpoint is, whoever wrote it: its file, its tensors, its names. Read without PyTorch, running nothing of it."""
