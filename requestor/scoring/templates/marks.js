  // Marks of a contact sheet: stars by keys and touch, kept by the browser, and handed back as a list.
  const given = new Map();  // photo → −1 (rejected) or 1 to 5
  const place = `nima-golem marks ${location.pathname}`;

  function listOfMarks() {
    const marks = [...given].map(([photo, stars]) => ({ path: photo.name, stars }));
    return JSON.stringify({ format: "nima-golem marks 1", marks }, null, 1);
  }

  function showMarks() {
    for (const photo of photos) {
      const stars = given.get(photo), old = photo.item.querySelector(".given");
      if (old) old.remove();
      if (stars === undefined) continue;
      const badge = document.createElement("b");
      badge.className = "given";
      badge.textContent = stars < 0 ? "✕" : "★".repeat(stars);
      photo.item.querySelector("a").append(badge);
    }
    const rejected = [...given.values()].filter(stars => stars < 0).length;
    element("marked").hidden = given.size === 0;
    element("marks").value = `${given.size - rejected} rated` + (rejected ? `, ${rejected} rejected` : "");
    const stars = given.get(current) || 0;
    for (const button of element("rate").children) {
      const value = +button.dataset.stars;
      if (value > 0) button.textContent = value <= stars ? "★" : "☆";
      button.setAttribute("aria-pressed", value === stars && value !== 0);
    }
  }

  function mark(photo, stars) {
    if (!photo) return;
    if (stars === 0) given.delete(photo);
    else given.set(photo, stars);
    try { localStorage.setItem(place, listOfMarks()); } catch { /* a browser may refuse to keep anything */ }
    showMarks();
  }

  function markByKey(event, photo) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^[0-5]$/.test(event.key)) mark(photo, +event.key);
    if (event.key === "x") mark(photo, -1);
  }

  element("rate").addEventListener("click", event => {
    const button = event.target.closest("button");
    if (button) mark(current, +button.dataset.stars);
  });
  details.addEventListener("keydown", event => markByKey(event, current));
  list.addEventListener("keydown", event => {
    const item = event.target.closest("li");
    markByKey(event, photos.find(photo => photo.item === item));
  });
  addEventListener("shown", showMarks);

  element("save").onclick = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([listOfMarks()], { type: "application/json" }));
    link.download = "marks.json";
    link.click();
    URL.revokeObjectURL(link.href);
  };
  element("copy").onclick = async () => {
    try {
      await navigator.clipboard.writeText(listOfMarks());
    } catch {  // the page may not be allowed to, as an old browser asks for https
      const text = document.createElement("textarea");
      text.value = listOfMarks();
      document.body.append(text);
      text.select();
      document.execCommand("copy");
      text.remove();
    }
    element("copy").textContent = "Copied";
    setTimeout(() => { element("copy").textContent = "Copy list"; }, 2000);
  };

  try {
    const byName = new Map(photos.map(photo => [photo.name, photo]));
    for (const { path, stars } of JSON.parse(localStorage.getItem(place) || '{"marks": []}').marks)
      if (byName.has(path)) given.set(byName.get(path), stars);
  } catch { /* nothing was kept, or it is of another version */ }
  showMarks();
