(() => {
  const controls = Object.fromEntries(["group", "level", "scale", "who", "find"].map((id) => [id, document.getElementById(id)]));
  const list = (text) => (text ? text.split("|") : []);

  const columns = (table, level, group) => {
    [...table.tHead.rows[0].cells].forEach((head, index) => {
      const { level: own, levels, groups } = head.dataset;
      const off =
        (own !== undefined && level && own !== level) ||
        (levels !== undefined && level && !list(levels).includes(level)) ||
        (groups !== undefined && group && !list(groups).includes(group));
      head.hidden = off;
      for (const row of table.tBodies[0].rows) row.cells[index].hidden = off;
    });
  };

  const apply = () => {
    const level = controls.level.value, group = controls.group.value, who = controls.who.value;
    const wanted = controls.find.value.trim().toLowerCase();
    for (const section of document.querySelectorAll("section.board")) {
      const { groups, levels } = section.dataset;
      section.hidden = (group && !list(groups).includes(group)) || (level && !list(levels).includes(level));
    }
    for (const table of document.querySelectorAll("table.board")) columns(table, level, group);
    for (const row of document.querySelectorAll("tr[data-model]")) {
      const other = who === "model" && row.classList.contains("baseline");
      row.hidden = other || (wanted && !row.dataset.model.toLowerCase().includes(wanted));
    }
    const adjusted = controls.scale.value === "adjusted";
    for (const cell of document.querySelectorAll("td[data-adjusted]")) {
      cell.dataset.score ??= cell.dataset.value;
      cell.dataset.value = adjusted ? cell.dataset.adjusted || "-1000" : cell.dataset.score;
      const shown = cell.querySelector(".as-adjusted");
      if (shown) shown.hidden = !adjusted;
      for (const plain of cell.querySelectorAll(".as-score")) plain.hidden = adjusted;
    }
  };
  for (const control of Object.values(controls)) control.addEventListener("input", apply);
})();
