// Usage by day: bars, the open day hatched. The table below it has the same numbers.
(() => {
  "use strict";

  const colour = (name, probe) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };

  // As the server writes numbers at a glance: 1.2 M.
  const short = (value) => {
    const [scale, letter] = [[1e12, " T"], [1e9, " G"], [1e6, " M"]].find(([size]) => value >= size) || [1, ""];
    return (value / scale).toLocaleString(document.documentElement.lang, { maximumFractionDigits: scale > 1 ? 1 : 6 }) + letter;
  };

  const hatch = (context, line) => {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const pen = tile.getContext("2d");
    pen.strokeStyle = line;
    pen.lineWidth = 2;
    pen.beginPath();
    for (const shift of [-8, 0, 8]) { pen.moveTo(shift, 8); pen.lineTo(shift + 8, 0); }
    pen.stroke();
    return context.createPattern(tile, "repeat");
  };

  const draw = (canvas) => {
    const data = JSON.parse(document.getElementById(canvas.dataset.source).textContent);
    const probe = document.createElement("span");
    canvas.parentElement.append(probe);
    const [bar, strong, grid, muted, text, surface] = ["--series-1", "--series-1-strong", "--grid", "--muted", "--text", "--surface"].map((name) => colour(name, probe));
    const border = colour("--border", probe);
    probe.remove();
    const last = data.days.length - 1;
    const hatched = hatch(canvas.getContext("2d"), bar);
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const font = { family: getComputedStyle(document.body).fontFamily, size: 12 };
    return new Chart(canvas, {
      type: "bar",
      data: {
        labels: data.days.map((day) => day.label),
        datasets: [{
          label: data.meter,
          data: data.days.map((day) => Number(day.value)),
          backgroundColor: data.days.map((_, index) => (index === last ? hatched : bar)),
          hoverBackgroundColor: data.days.map((_, index) => (index === last ? hatched : strong)),
          borderColor: bar,
          borderWidth: data.days.map((_, index) => (index === last ? 1 : 0)),
          borderRadius: 2,
          categoryPercentage: 0.86,
          barPercentage: 0.92,
        }],
      },
      options: {
        animation: still ? false : { duration: 160 },
        maintainAspectRatio: false,
        interaction: { mode: "index", intersect: false },
        scales: {
          x: { grid: { display: false }, border: { color: border }, ticks: { color: muted, font, maxRotation: 0, autoSkipPadding: 16 } },
          y: { beginAtZero: true, grid: { color: grid }, border: { display: false }, ticks: { color: muted, font, maxTicksLimit: 5, callback: short } },
        },
        plugins: {
          legend: { display: false },
          tooltip: {
            backgroundColor: surface, titleColor: text, bodyColor: text, footerColor: muted, borderColor: border, borderWidth: 1,
            padding: 10, displayColors: false, titleFont: { ...font, weight: 600 }, bodyFont: font, footerFont: font,
            callbacks: {
              title: (items) => data.days[items[0].dataIndex].title,
              label: (item) => data.days[item.dataIndex].text,
              footer: (items) => (items[0].dataIndex === last ? "The day is not over yet." : ""),
            },
          },
        },
      },
    });
  };

  const steer = (canvas, chart) => {
    let at = chart.data.labels.length - 1;
    const point = () => {
      const where = [{ datasetIndex: 0, index: at }];
      chart.setActiveElements(where);
      const { x, y } = chart.getDatasetMeta(0).data[at].getCenterPoint();
      chart.tooltip.setActiveElements(where, { x, y });
      chart.update("none");
    };
    const steps = { ArrowLeft: -1, ArrowRight: 1 };
    canvas.onkeydown = (event) => {
      if (!(event.key in steps)) return;
      event.preventDefault();
      at = Math.min(Math.max(at + steps[event.key], 0), chart.data.labels.length - 1);
      point();
    };
    canvas.onblur = () => {
      chart.setActiveElements([]);
      chart.tooltip.setActiveElements([], { x: 0, y: 0 });
      chart.update("none");
    };
  };

  const drawAll = () => {
    for (const canvas of document.querySelectorAll("canvas[data-source]")) {
      Chart.getChart(canvas)?.destroy();
      steer(canvas, draw(canvas));
    }
  };

  drawAll();
  document.addEventListener("theme-changed", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target.querySelector?.("canvas[data-source]")) drawAll();
  });
})();
