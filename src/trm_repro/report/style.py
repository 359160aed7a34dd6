"""The report's style sheet: light and dark by the reader's own setting, one column on a phone, black on white on paper.

Text and lines keep a contrast of at least 4.5 to 1 with what is behind them in both schemes.
"""

from __future__ import annotations

CURVES = 6  # colours of curves: c0 … c5

STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--quiet:#57606a;--paper:#fff;--card:#f6f8fa;--rule:#d0d7de;
  --accent:#0550ae;--good:#116329;--bad:#a40e26;--c0:#0550ae;--c1:#bc4c00;--c2:#116329;--c3:#8250df;
  --c4:#a40e26;--c5:#57606a}
@media(prefers-color-scheme:dark){
  :root{--ink:#e6edf3;--quiet:#9da7b3;--paper:#0d1117;--card:#161b22;--rule:#3d444d;--accent:#79c0ff;
    --good:#56d364;--bad:#ff9492;--c0:#79c0ff;--c1:#ffa657;--c2:#56d364;--c3:#d2a8ff;--c4:#ff9492;
    --c5:#9da7b3}
}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:1.5rem 1rem 4rem;background:var(--paper);color:var(--ink);
  font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:break-word}
h1{font-size:1.6rem;line-height:1.25;margin:.2rem 0}
h2{font-size:1.2rem;margin:2.6rem 0 .6rem;border-bottom:1px solid var(--rule);padding-bottom:.3rem}
h3{font-size:1rem;margin:1.4rem 0 .4rem}
p{margin:.5rem 0}
a{color:var(--accent)}
.quiet,figcaption .quiet{color:var(--quiet);font-weight:400}
.verdict{display:inline-block;border:2px solid currentColor;border-radius:.4rem;padding:.1rem .6rem;
  font-weight:600}
.good{color:var(--good)}
.bad{color:var(--bad)}
.number{font-size:3rem;line-height:1.1;font-weight:700;margin:1rem 0 .2rem;font-variant-numeric:tabular-nums}
.number small{font-size:1.1rem;font-weight:400;color:var(--quiet)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--quiet);padding-bottom:.3rem}
th,td{text-align:left;vertical-align:top;padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--rule)}
th{font-weight:600}
tr.ours td,tr.ours th{font-weight:700}
code,pre{font:.85em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
td code,td:last-child{overflow-wrap:anywhere}
td:last-child{min-width:6rem}
.packages{columns:15rem;padding:0;list-style:none;font-size:.92rem}
pre{background:var(--card);padding:.7rem .9rem;border-radius:.4rem;overflow-x:auto;white-space:pre-wrap;
  overflow-wrap:anywhere}
figure{margin:0}
figcaption{font-weight:600;margin-bottom:.3rem}
svg{display:block;max-width:100%;height:auto}
svg text{fill:var(--quiet);font-size:13px;font-family:inherit}
.intervals{max-width:34rem;margin:1rem 0}
svg text.what{font-size:12.5px}
svg text.ours{fill:var(--ink);font-weight:700}
svg .rule{stroke:var(--rule)}
svg polyline{fill:none;stroke-width:2;stroke-linejoin:round}
line.ours{stroke:var(--accent);stroke-width:3}
circle.ours{fill:var(--accent)}
line.theirs{stroke:var(--quiet);stroke-width:2}
circle.theirs{fill:var(--quiet)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1.6rem}
.legend{list-style:none;margin:.3rem 0 0;padding:0;display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;
  font-size:.88rem}
.legend li{display:flex;gap:.4rem;align-items:center}
.task{border:1px solid var(--rule);border-radius:.5rem;padding:.7rem .9rem;margin:.8rem 0;break-inside:avoid}
.task h3{margin:0 0 .5rem}
.grids{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.9rem}
.grids figcaption{font-weight:400;font-size:.88rem}
.grid{max-height:13rem;width:100%}
.pairs{display:flex;flex-wrap:wrap;gap:.6rem 1.2rem;margin-bottom:.8rem;padding-bottom:.8rem;
  border-bottom:1px solid var(--rule)}
.pairs div{display:flex;gap:.4rem;align-items:center}
.pairs .grid,.pairs .empty{width:5.2rem;max-height:5.2rem;padding:0}
.pairs figcaption{font-weight:400;font-size:.82rem;color:var(--quiet);margin:.2rem 0 0}
.grid .lines{stroke:#666;stroke-width:.04;fill:none}
.empty{border:1px dashed var(--rule);padding:1.4rem;text-align:center;color:var(--quiet)}
details{margin:.6rem 0}
summary{cursor:pointer;font-weight:600}
@media(max-width:30rem){
  th,td{padding-right:.5rem}
  td:last-child{min-width:5rem;padding-right:0}
  .many thead,.many td:empty{display:none}
  .many tr{display:grid;grid-template-columns:1fr auto;border-bottom:1px solid var(--rule);padding:.3rem 0}
  .many th,.many td{border:0;padding:.1rem 0}
  .many td:nth-child(n+3){grid-column:1/-1}
}
@media print{
  :root{--ink:#000;--quiet:#444;--paper:#fff;--card:#fff;--rule:#bbb;--accent:#0550ae;--good:#116329;
    --bad:#a40e26;--c0:#0550ae;--c1:#bc4c00;--c2:#116329;--c3:#8250df;--c4:#a40e26;--c5:#57606a}
  body{max-width:none;padding:0;font-size:11pt;-webkit-print-color-adjust:exact;print-color-adjust:exact}
  figure,table{break-inside:avoid}
  h2,h3{break-after:avoid}
  .charts{grid-template-columns:1fr 1fr}
  details::details-content{content-visibility:visible;block-size:auto}
}
""" + "".join(f"polyline.c{i}{{stroke:var(--c{i})}}circle.c{i}{{fill:var(--c{i})}}\n" for i in range(CURVES))
