"use strict";
(() => {
  const narrow = matchMedia("(max-width: 760px)");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Map();

  const plotly = () => {
    if (!window.Plotly) {
      const script = document.createElement("script");
      script.textContent = document.getElementById("plotly").textContent;
      document.head.append(script);
    }
    return window.Plotly;
  };

  const theme = (layout) => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const themed = {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      "font.family": colour("--sans"),
      "font.color": colour("--ink"),
      "font.size": narrow.matches ? 10 : 12,
      "margin.l": narrow.matches ? 78 : layout.margin.l,
      "hoverlabel.bgcolor": colour("--raised"),
      "hoverlabel.bordercolor": colour("--line"),
      "hoverlabel.font.color": colour("--ink"),
      dragmode: narrow.matches ? false : "zoom",
    };
    for (const axis of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
      themed[`${axis}.gridcolor`] = colour("--line");
      themed[`${axis}.tickfont.color`] = colour("--muted");
    }
    themed["xaxis.spikecolor"] = colour("--muted");
    return themed;
  };

  const draw = async (box) => {
    const figure = JSON.parse(document.getElementById(box.dataset.figure).textContent);
    drawn.set(box, structuredClone(figure.layout));
    for (const [path, value] of Object.entries(theme(figure.layout))) {
      const keys = path.split(".");
      const last = keys.pop();
      keys.reduce((inner, key) => (inner[key] ??= {}), figure.layout)[last] = value;
    }
    if (narrow.matches) {
      // Texts beside bars were laid out for a wide plot.
      figure.data.filter((trace) => trace.type === "bar" && Array.isArray(trace.textposition))
        .forEach((trace) => { trace.textposition = "inside"; });
      figure.layout.annotations.forEach((note) => { note.font = { ...note.font, size: 10 }; });
    }
    const config = { responsive: true, displaylogo: false, displayModeBar: narrow.matches ? false : "hover",
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
    await plotly().newPlot(box, figure.data, figure.layout, config);
    box.dataset.drawn = "true";
  };

  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) {
        seen.unobserve(target);
        draw(target);
      }
    }
  }, { rootMargin: "300px" });
  document.querySelectorAll("[data-figure]").forEach((box) => seen.observe(box));

  const repaint = () => drawn.forEach((layout, box) => window.Plotly.relayout(box, theme(layout)));
  dark.addEventListener("change", repaint);
  narrow.addEventListener("change", repaint);

  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.matches("details")) {
      target.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", reveal);
  reveal();

  document.addEventListener("click", async ({ target }) => {
    if (target.dataset.all) {
      document.querySelectorAll("details.drill").forEach((drill) => { drill.open = target.dataset.all === "open"; });
    }
    if (target.dataset.copy) {
      try {
        await navigator.clipboard.writeText(target.dataset.copy);
        target.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(target.previousElementSibling);
        target.textContent = "selected";
      }
      setTimeout(() => { target.textContent = "copy"; }, 1500);
    }
    const link = target.closest("a[href^='#']");
    if (link && link.hash === location.hash) reveal();
  });
})();
