/* Light, dark, or as the system has it; remembered where the browser allows. */
function startTheme() {
  const choice = find(".theme");
  choice.hidden = false;
  const remembered = storage(() => localStorage.getItem("babyai-theme")) || "auto";
  choice.addEventListener("change", (event) => setTheme(event.target.value));
  const input = find(`input[value="${CSS.escape(remembered)}"]`, choice);
  if (input) {
    input.checked = true;
    setTheme(remembered);
  }
}

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  storage(() => localStorage.setItem("babyai-theme", theme));
}

function storage(access) {
  try {
    return access();
  } catch {
    return null; // a file opened from disk may have no storage
  }
}
