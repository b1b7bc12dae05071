// Draws a dashboard of Grafana's from what a Prometheus answers: time series alone, which
// is all that ours has.

const colors = ["#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0", "#508642", "#cca300"];
/** Pixels of a column, and of a unit of height. */
const column = 46, unit = 22;

/** Returns a page. `length` is how far it looks back, in seconds. */
export async function drawDashboard(dashboard, prometheus, length) {
  const end = Date.now() / 1000;
  const panels = await Promise.all(dashboard.panels.map(async (panel) => {
    const { x, y, w, h } = panel.gridPos;
    const place = `left:${x * column}px;top:${y * unit}px;width:${w * column - 8}px;height:${h * unit - 8}px`;
    if (panel.type === "row") return `<h2 style="${place}">${escape(panel.title)}</h2>`;
    const series = (await Promise.all(panel.targets.map((target) => query(prometheus, target, end - length, end)))).flat();
    return `<section style="${place}"><h3>${escape(panel.title)}</h3>${draw(series, panel.fieldConfig.defaults.unit, w * column - 24, h * unit - 66, end - length, end)}</section>`;
  }));
  const height = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h)) * unit;
  return `<!doctype html><style>
    body { margin: 8px; background: #111217; color: #ccccdc; font: 11px sans-serif; }
    main { position: relative; height: ${height}px; width: ${24 * column}px; }
    section, h2 { position: absolute; box-sizing: border-box; }
    section { background: #181b1f; border: 1px solid #2a2d33; border-radius: 2px; padding: 4px 8px; overflow: hidden; }
    h2 { font-size: 14px; margin: 0; padding: 2px; }
    h3 { font-size: 12px; font-weight: 500; margin: 0 0 2px; }
    p { margin: 0; overflow: hidden; max-height: 26px; line-height: 13px; }
    b { display: inline-block; width: 10px; height: 3px; margin: 0 4px 2px 0; }
    span { margin-right: 9px; white-space: nowrap; }
  </style><main>${panels.join("\n")}</main>`;
}

async function query(prometheus, { expr, legendFormat }, start, end) {
  const text = expr.replaceAll("$__rate_interval", "10s").replaceAll("$__range", "2m").replaceAll("$job", "wsproxy").replaceAll("$instance", ".*");
  const url = `${prometheus}/api/v1/query_range?${new URLSearchParams({ query: text, start, end, step: "1" })}`;
  const { status, data, error } = await (await fetch(url)).json();
  if (status !== "success") throw new Error(`${text}: ${error}`);
  return data.result.map(({ metric, values }) => ({
    name: (legendFormat || Object.values(metric).join(" ")).replace(/\{\{ *(\w+) *\}\}/g, (_, label) => metric[label] ?? ""),
    points: values.map(([at, value]) => [at, Number(value)]).filter(([, value]) => Number.isFinite(value)),
  })).filter(({ points }) => points.some(([, value]) => value > 0));
}

function draw(series, kind, width, height, start, end) {
  if (series.length === 0) return "<p>Nothing</p>";
  const left = 48, most = Math.max(...series.flatMap(({ points }) => points.map(([, value]) => value))) * 1.05;
  const at = (t) => (left + (t - start) / (end - start) * (width - left)).toFixed(1);
  const level = (value) => (height - value / most * height + 4).toFixed(1);
  const lines = series.map(({ points }, i) =>
    `<polyline fill="none" stroke="${colors[i % colors.length]}" points="${points.map(([t, value]) => `${at(t)},${level(value)}`).join(" ")}"/>`);
  const grid = [0, 0.5, 1].map((part) => `<line x1="${left}" x2="${width}" y1="${level(part * most)}" y2="${level(part * most)}" stroke="#2a2d33"/>
    <text x="${left - 5}" y="${Number(level(part * most)) + 4}" text-anchor="end" fill="#8e8e9b" font-size="9">${amount(part * most, kind)}</text>`);
  const legend = series.map(({ name }, i) => `<span><b style="background:${colors[i % colors.length]}"></b>${escape(name)}</span>`);
  return `<svg width="${width}" height="${height + 10}">${grid.join("")}${lines.join("")}</svg><p>${legend.join("")}</p>`;
}

/** As Grafana's units have it. */
function amount(value, kind) {
  const [factor, steps] = { bytes: [1024, ["B", "KiB", "MiB", "GiB"]], Bps: [1000, ["B/s", "kB/s", "MB/s", "GB/s"]] }[kind] ?? [1000, ["", "k", "M", "G"]];
  if (kind === "percentunit") return `${short(value * 100)} %`;
  if (kind === "s") return value < 1 ? `${short(value * 1000)} ms` : `${short(value)} s`;
  let i = 0;
  for (; value >= factor && i + 1 < steps.length; i++) value /= factor;
  return `${short(value)} ${steps[i]}${{ ops: "/s", reqps: "/s" }[kind] ?? ""}`;
}

const short = (value) => (value >= 100 ? Math.round(value) : Number(value.toPrecision(2)));

function escape(text) {
  return text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
}
