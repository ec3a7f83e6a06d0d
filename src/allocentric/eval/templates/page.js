"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const zoom = byId("zoom");
  zoom.addEventListener("click", () => zoom.close());
  const enlarge = (element) => { zoom.replaceChildren(element.cloneNode(true)); zoom.showModal(); };
  document.addEventListener("click", (event) => {
    const picture = event.target.closest(".frames img, article svg.map");
    if (picture) enlarge(picture);
  });

  for (const head of document.querySelectorAll("table.board th[data-sort]")) {
    let down = head.dataset.sort === "number";
    head.addEventListener("click", () => {
      const body = head.closest("table").tBodies[0];
      const column = head.cellIndex;
      const key = (row) => {
        const cell = row.cells[column];
        return head.dataset.sort === "number" ? Number(cell.dataset.value ?? cell.textContent) || 0 : cell.textContent;
      };
      const rows = [...body.rows].filter((row) => !row.classList.contains("chance"));
      rows.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0) * (down ? -1 : 1));
      down = !down;
      body.prepend(...rows);
    });
  }

  const holder = byId("items");
  if (!holder) return;
  const PAGE = 20;
  const uris = JSON.parse(byId("frames").textContent);
  const all = [...holder.children].map((element) => ({
    element,
    kind: element.dataset.kind,
    scene: element.dataset.scene,
    number: Number(element.dataset.number),
    mean: Number(element.dataset.mean),
    states: element.dataset.states.split(" ").map((state) => state.split("+")),
    text: null,
  }));
  const controls = Object.fromEntries(["kind", "scene", "model", "state", "sort", "search"].map((id) => [id, byId(id)]));
  let chosen = all;
  let page = 0;

  const matches = (item) => {
    const { kind, scene, model, state, search } = controls;
    if (kind.value && item.kind !== kind.value) return false;
    if (scene.value && item.scene !== scene.value) return false;
    if (state.value && !item.states[Number(model.value)]?.includes(state.value)) return false;
    const wanted = search.value.trim().toLowerCase();
    if (!wanted) return true;
    item.text ??= item.element.textContent.toLowerCase();
    return item.text.includes(wanted);
  };
  const order = { number: (a, b) => a.number - b.number, hard: (a, b) => a.mean - b.mean, easy: (a, b) => b.mean - a.mean };

  const show = () => {
    const last = Math.max(0, Math.ceil(chosen.length / PAGE) - 1);
    page = Math.min(Math.max(page, 0), last);
    const visible = chosen.slice(page * PAGE, (page + 1) * PAGE);
    for (const item of all) item.element.hidden = true;
    for (const item of visible) {
      item.element.hidden = false;
      for (const image of item.element.querySelectorAll("img[data-frame]")) image.src = uris[Number(image.dataset.frame)];
    }
    holder.prepend(...visible.map((item) => item.element));
    byId("place").textContent = `${page + 1} / ${last + 1}`;
    byId("before").disabled = page === 0;
    byId("after").disabled = page === last;
    byId("count").textContent = `${chosen.length} of ${all.length} questions`;
  };
  const choose = () => {
    chosen = all.filter(matches).sort(order[controls.sort.value]);
    page = 0;
    show();
  };
  for (const control of Object.values(controls)) control.addEventListener("input", choose);
  const turn = (by) => { page += by; show(); byId("questions").scrollIntoView(); };
  byId("before").addEventListener("click", () => turn(-1));
  byId("after").addEventListener("click", () => turn(1));

  const follow = () => {
    const target = all.find((item) => `#${item.element.id}` === location.hash);
    if (!target) return;
    if (!chosen.includes(target)) {
      for (const id of ["kind", "scene", "state", "search"]) controls[id].value = "";
      choose();
    }
    page = Math.floor(chosen.indexOf(target) / PAGE);
    show();
    target.element.scrollIntoView();
  };
  window.addEventListener("hashchange", follow);
  show();
  follow();
})();
