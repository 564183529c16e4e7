// Draws the charts of a report, in the reader's theme and at the screen's width.
"use strict";

(() => {
  // Told apart by readers of every kind of colour vision; each server also has a mark of its own.
  const COLOURS = {
    light: ["#1f5fa8", "#c8501e", "#2a9d6e", "#6d1f6b", "#c99700", "#6b7280"],
    dark: ["#5b9fe8", "#ee8049", "#3ccba3", "#dda0d8", "#f0d868", "#98a1ac"],
  };
  const INKS = {
    light: { paper: "#ffffff", ink: "#1b1f24", soft: "#57606a", grid: "#e6e9ed", axis: "#aab1ba" },
    dark: { paper: "#12161c", ink: "#e6e9ed", soft: "#9ba5b1", grid: "#272e37", axis: "#4a5460" },
  };
  const KEYS = ["threads", "pool", "tasks", "epoll", "grpc", "floor"];
  const MARKS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "x"];
  const FONT = 'system-ui, "Segoe UI", Roboto, "Liberation Sans", sans-serif';
  const NARROW_PX = 560;
  const LEGEND_ROW_PX = 20;
  const LETTER_PX = 7;
  const CONFIG = {
    displaylogo: false,
    displayModeBar: false,
    responsive: false, // drawn again on a resize, for the layout depends on the width
  };

  const charts = JSON.parse(document.getElementById("charts").textContent);
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const linear = new Set(); // charts whose y axis the reader made linear
  let printing = false;

  const theme = () => {
    if (printing) return "light";
    return root.dataset.theme ?? (systemDark.matches ? "dark" : "light");
  };

  // The place of a key among the colours: servers by name, other things by number.
  const place = (key) => (KEYS.includes(key) ? KEYS.indexOf(key) : Number(key) - 1);

  const faint = (colour, part) => {
    const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    return `rgba(${parts.join()},${part})`;
  };

  // Labels that would stand on each other are left out; the first stays, and the rest gives way.
  function thinned(given, data, widthPx) {
    if (given.type !== "log" || !given.tickvals) return {};
    const xs = data.flatMap((trace) => trace.x).filter((x) => x > 0).map(Math.log10);
    const [low, high] = [Math.min(...xs), Math.max(...xs)];
    const place = (x) => (Math.log10(x) - low) / Math.max(high - low, 0.1) * widthPx * 0.92;
    const texts = [];
    let free = -Infinity;
    given.tickvals.forEach((x, n) => {
      const half = given.ticktext[n].length * LETTER_PX / 2;
      const fits = place(x) - half > free;
      texts.push(fits ? given.ticktext[n] : "");
      if (fits) free = place(x) + half + LETTER_PX;
    });
    return { ticktext: texts };
  }

  function styled(trace, ink, colours) {
    const colour = colours[place(trace.legendgroup)];
    const copy = { ...trace };
    copy.hoverlabel = { bgcolor: ink.paper, bordercolor: colour, align: "left",
      font: { color: ink.ink, family: FONT, size: 13 } };
    const bar = trace.type === "bar";
    const whisker = { color: bar ? ink.ink : faint(colour, 0.6), thickness: 1.2,
      width: bar ? 4 : 3 };
    for (const error of ["error_x", "error_y"]) {
      if (trace[error]) copy[error] = { ...trace[error], ...whisker };
    }
    if (bar) {
      copy.marker = { color: faint(colour, 0.5), line: { color: colour, width: 1.2 } };
      copy.width = 0.62;
      return copy;
    }
    copy.line = { width: 2, ...trace.line, color: colour };
    copy.marker = { ...trace.marker, color: colour, symbol: MARKS[place(trace.legendgroup)],
      line: { width: 1, color: ink.paper } };
    return copy;
  }

  function axis(given, ink, narrow) {
    return {
      ...given,
      title: { ...given.title, standoff: 10, font: { size: 13, color: ink.soft } },
      tickfont: { size: narrow ? 11 : 12, color: ink.soft },
      gridcolor: ink.grid, gridwidth: 1, linecolor: ink.axis, zeroline: false,
      automargin: true, separatethousands: true, exponentformat: "none",
      nticks: narrow ? 5 : 9,
    };
  }

  function laidOut(chart, width, ink) {
    const { layout, data } = chart.plot;
    const narrow = width < NARROW_PX;
    const bars = data.some((trace) => trace.type === "bar");
    const named = data.filter((trace) => trace.showlegend).length;
    const legend = named > 1;
    const perRow = Math.max(1, Math.floor(width / 120));
    const legendPx = legend && narrow ? LEGEND_ROW_PX * Math.ceil(named / perRow) : 0;
    const y = axis(layout.yaxis, ink, narrow);
    const x = { ...axis(layout.xaxis, ink, narrow), ...thinned(layout.xaxis, data, width - 64) };
    const rows = !bars && layout.yaxis.range; // names stand on the y axis
    if (bars || rows) Object.assign(y, { tickfont: { ...y.tickfont, color: ink.ink, size: 13 } });
    if (bars) Object.assign(y, { showgrid: false, ticklabelstandoff: 6, nticks: 0, dtick: 1 });
    else Object.assign(x, { showgrid: Boolean(rows) || layout.xaxis.type === "log" });
    Object.assign(x, bars ? {} : { showline: true, ticks: "outside", ticklen: 4,
      tickcolor: ink.axis });
    if (linear.has(chart.id)) {
      Object.assign(y, { type: "linear", tickmode: "auto", rangemode: "tozero" });
    }
    return {
      width, height: chart.height + legendPx, xaxis: x, yaxis: y,
      font: { family: FONT, size: 13, color: ink.ink },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 48, r: 16, t: bars ? (legend && !narrow ? 32 : 8) : (narrow ? 30 : 38), b: 48 + legendPx },
      showlegend: legend,
      // Beside the title of the y axis where there is room, below the chart where there is none.
      legend: narrow
        ? { orientation: "h", x: 0, xref: "container", y: 0, yref: "container", yanchor: "bottom" }
        : { orientation: "h", x: 1, xanchor: "right", y: 1, yanchor: "bottom" },
      annotations: chart.yTitle
        ? [{ text: chart.yTitle, xref: "paper", yref: "paper", x: 0, y: 1, xanchor: "left",
            yanchor: "bottom", yshift: 8, xshift: -40, showarrow: false,
            font: { size: 13, color: ink.soft } }]
        : [],
      hovermode: "closest", hoverdistance: 40, bargap: 0.3, barmode: layout.barmode,
      dragmode: narrow ? false : "zoom", // a finger scrolls the page
      uirevision: chart.id, // what is zoomed and hidden stays so
    };
  }

  function draw(chart) {
    const element = document.getElementById(chart.id);
    const name = theme();
    const data = chart.plot.data.map((trace) => styled(trace, INKS[name], COLOURS[name]));
    const width = Math.floor(element.getBoundingClientRect().width);
    return Plotly.react(element, data, laidOut(chart, width, INKS[name]), CONFIG);
  }

  function drawAll() {
    const button = document.getElementById("theme");
    button.textContent = theme() === "dark" ? "Light" : "Dark";
    return Promise.all(charts.map(draw));
  }

  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = theme() === "dark" ? "light" : "dark";
    drawAll();
  });
  for (const button of document.querySelectorAll("[data-switch]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const id = button.dataset.switch;
      if (!linear.delete(id)) linear.add(id);
      button.textContent = linear.has(id) ? "Log y" : "Linear y";
      draw(charts.find((chart) => chart.id === id));
    });
  }
  document.getElementById("theme").hidden = false;
  systemDark.addEventListener("change", drawAll);

  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) drawAll(); // a phone's address bar changes the height alone
    width = innerWidth;
  });
  for (const [event, on] of [["beforeprint", true], ["afterprint", false]]) {
    addEventListener(event, () => { printing = on; drawAll(); });
  }
  root.dataset.drawn = "no";
  drawAll().then(() => { root.dataset.drawn = "yes"; });
})();
