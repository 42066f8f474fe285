"use strict";
// What a page of mlbroker does: it draws its charts, and sorts and filters its tables.
// Texts only ever become text nodes, or cells of Vega's tooltip, which escapes them.
(() => {
  const json = (id) => JSON.parse(document.getElementById(id).textContent);
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Islands of rows, each unpacked when it is first asked for.
  const unpacked = new Map();
  function rowsOf(number) {
    if (!unpacked.has(number)) {
      const island = json(`rows-${number}`);
      for (const column of island.columns) column.text = (row) => column.texts[column.at[row]];
      island.named = new Map(island.columns.map((column) => [column.name, column]));
      unpacked.set(number, island);
    }
    return unpacked.get(number);
  }

  // As Vega takes rows: of figures the number, and what is shown of it.
  function records(island, chosen) {
    return chosen.map((row) => {
      const record = { marked: row === island.marked };
      for (const column of island.columns) {
        if (column.numbers) {
          record[column.name] = column.numbers[row];
          record[`${column.name}_text`] = column.text(row);
        } else {
          record[column.name] = column.text(row);
        }
      }
      return record;
    });
  }

  // Charts ---------------------------------------------------------------------------------------

  // Above so many rows a canvas is drawn: as many SVG elements take a browser seconds.
  const MANY = 1500;
  const NARROW = 640;

  // Colours by their names in page.css. What is the reader's (data, and domains, which are of data)
  // stays as it is, whatever it is called.
  const NO_COLOURS = new Set(["data", "domain"]);
  function coloured(part) {
    if (typeof part === "string") return part.startsWith("--") ? style(part) : part;
    if (Array.isArray(part)) return part.map(coloured);
    if (part && typeof part === "object") {
      return Object.fromEntries(Object.entries(part).map(([key, value]) =>
        [key, NO_COLOURS.has(key) ? value : coloured(value)]));
    }
    return part;
  }

  function looks(narrow) {
    const text = { labelColor: style("--soft"), titleColor: style("--soft") };
    const series = [1, 2, 3, 4, 5, 6, 7, 8].map((number) => style(`--series-${number}`));
    return {
      background: "transparent",
      font: "system-ui, sans-serif",
      view: { stroke: "transparent" },
      axis: {
        ...text, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal",
        gridColor: style("--line"), gridOpacity: 0.6, domainColor: style("--line"), tickColor: style("--line"),
        labelLimit: narrow ? 110 : 220,
      },
      axisQuantitative: { tickCount: narrow ? 4 : 8 },
      legend: {
        ...text, orient: "top", labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal",
        columns: narrow ? 2 : 6, symbolLimit: 40, labelLimit: narrow ? 150 : 220,
      },
      text: { color: style("--ink"), fontSize: 12 },
      rule: { color: style("--soft") },
      bar: { color: series[0] }, point: { color: series[0] }, line: { color: series[0] },
      range: { category: series },
      aria: false,
    };
  }

  class Chart {
    constructor(figure) {
      const number = figure.dataset.chart;
      this.place = document.getElementById(`chart-${number}`);
      this.spec = json(`spec-${number}`);
      this.described = document.getElementById(`described-${number}`).textContent;
      this.rows = rowsOf(figure.dataset.rows);
      this.chosen = [...Array(this.rows.rows).keys()];
    }

    async draw() {
      const width = this.place.clientWidth;
      const narrow = width < NARROW;
      this.drawnWidth = width;
      const spec = coloured(this.spec);
      spec.width ??= "container";
      spec.autosize ??= { type: "fit-x", contains: "padding" };
      spec.data ??= { name: "rows" };
      spec.datasets = { rows: records(this.rows, this.chosen) };
      const old = this.drawn;
      this.drawn = await window.vegaEmbed(this.place, spec, {
        actions: false, ast: true, defaultStyle: false, hover: false, config: looks(narrow),
        logLevel: 1,  // errors: what Vega warns of (a layer without a row) is no reader's matter
        renderer: this.rows.rows > MANY ? "canvas" : "svg",
        tooltip: { theme: "custom", disableDefaultStyle: true },
      });
      old?.finalize();
      const picture = this.place.querySelector("svg, canvas");
      // One picture with its words: its parts have none that would help.
      for (const part of [picture, ...picture.querySelectorAll("[role]")]) {
        part.removeAttribute("role");
        part.removeAttribute("aria-roledescription");
      }
      picture.setAttribute("role", "img");
      picture.setAttribute("aria-label", this.described);
    }

    // Only the rows that a table's filters leave.
    narrowTo(chosen) {
      this.chosen = chosen;
      this.drawn?.view.data("rows", records(this.rows, chosen)).runAsync();
    }
  }

  const charts = [...document.querySelectorAll("[data-chart]")].map((figure) => new Chart(figure));
  const drawAll = () => Promise.all(charts.map((chart) => chart.draw()));

  // Tables ---------------------------------------------------------------------------------------

  class Table {
    constructor(place) {
      this.rows = rowsOf(place.dataset.table);
      this.heads = [...place.querySelectorAll("th")];
      this.columns = this.heads.map((head) => this.rows.named.get(head.dataset.column));
      this.body = place.querySelector("tbody");
      this.count = place.querySelector(".count");
      this.more = place.querySelector(".more");
      this.filters = [...place.querySelectorAll("[data-filter]")];
      this.first = this.body.rows.length;
      this.limit = this.first;
      this.sorted = null;
      this.heads.forEach((head, index) => this.makeSortable(head, index));
      for (const button of this.more.querySelectorAll("button")) {
        button.addEventListener("click", () => this.showMore(button.dataset.more));
      }
      const form = place.querySelector("form");
      if (form) {
        form.hidden = false;
        form.addEventListener("input", () => this.refilter());
        form.addEventListener("submit", (event) => event.preventDefault());
        form.addEventListener("reset", () => setTimeout(() => this.refilter()));
      }
      this.order = this.kept();
      this.say();
    }

    makeSortable(head, index) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => this.sortBy(index));
    }

    sortBy(index) {
      const down = this.heads[index].getAttribute("aria-sort") === "ascending";
      this.heads.forEach((head) => head.setAttribute("aria-sort", "none"));
      this.heads[index].setAttribute("aria-sort", down ? "descending" : "ascending");
      this.sorted = { column: this.columns[index], sign: down ? -1 : 1 };
      this.show();
    }

    kept() {
      const tests = [];
      for (const field of this.filters) {
        const column = this.rows.named.get(field.dataset.filter);
        const wanted = field.value;
        if (wanted === "") continue;
        if (column.numbers) {
          tests.push((row) => column.numbers[row] !== null && column.numbers[row] <= Number(wanted));
        } else {
          const whole = field instanceof HTMLSelectElement;
          const part = wanted.toLowerCase();
          const hits = column.texts.map((text) =>
            whole ? text === wanted : text.toLowerCase().includes(part));
          tests.push((row) => hits[column.at[row]]);
        }
      }
      const kept = [];
      for (let row = 0; row < this.rows.rows; row++) {
        if (tests.every((test) => test(row))) kept.push(row);
      }
      return kept;
    }

    refilter() {
      this.limit = this.first;
      this.show();
      for (const chart of charts) {
        if (chart.rows === this.rows) chart.narrowTo(this.kept());
      }
    }

    showMore(how) {
      const before = this.body.rows.length;
      this.limit = how === "all" ? Infinity : this.limit + Number(how);
      this.show();
      // The button may be gone now; who pressed it goes on with the first row that it brought.
      if (this.more.hidden) {
        const next = this.body.rows[before];
        next.tabIndex = -1;
        next.focus();
      }
    }

    show() {
      this.order = this.kept();
      if (this.sorted) {
        const { column, sign } = this.sorted;
        const ranks = column.numbers ?? this.ranks(column);
        // What is unknown comes last, whichever way.
        this.order.sort((one, other) =>
          (ranks[one] === null) - (ranks[other] === null) || sign * (ranks[one] - ranks[other]));
      }
      const shown = this.order.slice(0, this.limit).map((row) => this.line(row));
      this.body.replaceChildren(...shown);
      this.say();
    }

    ranks(column) {
      const collator = new Intl.Collator("en", { numeric: true });
      const places = column.texts.map((_, place) => place)
        .sort((one, other) => collator.compare(column.texts[one], column.texts[other]));
      const rank = [];
      places.forEach((place, number) => { rank[place] = number; });
      return column.at.map((place) => rank[place]);
    }

    line(row) {
      const line = document.createElement("tr");
      if (row === this.rows.marked) line.className = "marked";
      this.columns.forEach((column, index) => {
        const cell = line.insertCell();
        cell.className = this.heads[index].className;
        cell.textContent = column.text(row);
      });
      return line;
    }

    say() {
      const shown = this.body.rows.length;
      const number = (count) => count.toLocaleString("en");
      this.more.hidden = shown >= this.order.length;
      if (!this.count) return;
      const filtered = this.order.length < this.rows.rows;
      const all = filtered
        ? `${number(this.order.length)} rows that match, of ${number(this.rows.rows)}`
        : `${number(this.rows.rows)} rows`;
      this.count.textContent = shown < this.order.length ? `The first ${number(shown)} of ${all}` : all;
    }
  }

  for (const place of document.querySelectorAll("[data-table]")) new Table(place);

  // Charts follow the reader's dark or light, the paper's white, and the width of the window.
  const drawn = drawAll();
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    matchMedia(query).addEventListener("change", drawAll);
  }
  let waiting = null;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      for (const chart of charts) {
        const turned = (chart.place.clientWidth < NARROW) !== (chart.drawnWidth < NARROW);
        if (turned) chart.draw();
      }
    }, 150);
  });
  drawn.then(() => document.documentElement.setAttribute("data-ready", ""));
})();
