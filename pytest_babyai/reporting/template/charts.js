/* Tooltips: what a mark of a chart is called for screen readers, shown to those who point at it. */
function startTooltips() {
  const tooltip = find("#tooltip");
  const hide = () => { tooltip.hidden = true; };
  document.addEventListener("pointermove", (event) => {
    const mark = event.target.closest && event.target.closest("figure svg [aria-roledescription][aria-label]");
    if (!mark || mark.getAttribute("aria-roledescription") === "axis") return hide();
    tooltip.textContent = mark.getAttribute("aria-label");
    tooltip.hidden = false;
    const box = tooltip.getBoundingClientRect();
    const left = Math.min(event.clientX + 14, innerWidth - box.width - 8);
    const below = event.clientY + 18;
    const top = below + box.height > innerHeight ? event.clientY - box.height - 10 : below;
    tooltip.style.left = `${Math.max(8, left)}px`;
    tooltip.style.top = `${top}px`;
  });
  document.addEventListener("pointerleave", hide);
  document.addEventListener("scroll", hide, { passive: true });
}
