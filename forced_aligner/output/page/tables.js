"use strict";
// Makes the headings of every table of results buttons that sort its rows.

/** A number by its value, also one such as `1,234.5`. `equal` is above all numbers: nothing differs. */
function sortKey(cell) {
  const text = cell.textContent.trim();
  return { text, number: text === "equal" ? Infinity : Number.parseFloat(text.replaceAll(",", "")) };
}

function sortRows(table, column, descending) {
  const isText = table.tHead.rows[0].cells[column].classList.contains("text");
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, ...sortKey(row.cells[column]) }));
  const byText = (a, b) => a.text.localeCompare(b.text, undefined, { numeric: true });
  const byNumber = (a, b) => (a.number === b.number ? 0 : a.number - b.number);
  // What is no number, such as NOT FINITE, comes last in both directions.
  const last = (a, b) => (isText ? 0 : Number.isNaN(a.number) - Number.isNaN(b.number));
  rows.sort((a, b) => last(a, b) || (descending ? -1 : 1) * (isText ? byText(a, b) : byNumber(a, b) || byText(a, b)));
  body.append(...rows.map(({ row }) => row));
}

for (const table of document.querySelectorAll("table.results")) {
  const headings = [...table.tHead.rows[0].cells];
  for (const [column, heading] of headings.entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Sort by this column";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const before = heading.getAttribute("aria-sort");
      // Numbers from the largest, words from A; a second click turns it around.
      const first = heading.classList.contains("text") ? "ascending" : "descending";
      const second = first === "ascending" ? "descending" : "ascending";
      const order = before === first ? second : first;
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", order);
      sortRows(table, column, order === "descending");
    });
  }
}
