(() => {
  "use strict";
  document.querySelectorAll(".viewer").forEach((viewer) => {
    const stage = viewer.querySelector("[data-slider]");
    if (!stage) return;
    const range = viewer.querySelector(".divider");
    const choice = viewer.querySelector(".choice");
    const pictures = stage.querySelectorAll(".after");
    const place = () => {
      stage.style.setProperty("--at", range.value + "%");
      range.setAttribute("aria-valuetext", range.value + " percent before, the rest after");
    };
    const pick = () => pictures.forEach((picture, i) => { picture.hidden = choice ? i !== choice.selectedIndex : i > 0; });
    const follow = (event) => {
      const box = stage.getBoundingClientRect();
      range.value = Math.round(100 * (event.clientX - box.left) / box.width);
      place();
    };
    stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); follow(event); });
    stage.addEventListener("pointermove", (event) => { if (stage.hasPointerCapture(event.pointerId)) follow(event); });
    stage.addEventListener("dragstart", (event) => event.preventDefault());
    range.addEventListener("input", place);
    if (choice) choice.addEventListener("change", pick);
    const zoom = viewer.querySelector(".zoom");
    zoom.addEventListener("click", () => {
      const on = stage.classList.toggle("actual");
      zoom.setAttribute("aria-pressed", on);
      zoom.textContent = on ? "Show the whole photo" : zoom.dataset.text;
      stage.querySelectorAll("img").forEach((image) => {
        image.dataset.whole ||= image.src;
        image.src = on && image.dataset.detail || image.dataset.whole;
      });
    });
    zoom.dataset.text = zoom.textContent;
    stage.classList.add("live");
    viewer.querySelector(".controls").hidden = false;
    place();
    pick();
  });
  document.querySelectorAll(".command").forEach((line) => {
    const button = line.querySelector("button");
    const code = line.querySelector("code");
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  });
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((item) => { item.open = true; }));
})();
