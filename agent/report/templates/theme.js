(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let kept = null;
  try { kept = localStorage.getItem("hyposcreen-theme"); } catch { kept = null; }
  const apply = () => root.classList.toggle("dark", kept ? kept === "dark" : dark.matches);
  apply();
  dark.addEventListener("change", apply);
  window.toggleTheme = () => {
    kept = root.classList.contains("dark") ? "light" : "dark";
    try { localStorage.setItem("hyposcreen-theme", kept); } catch { /* a page without storage forgets, no more */ }
    apply();
    return kept;
  };
})();
