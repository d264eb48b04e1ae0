// Filters the list of documents; without scripts all of them are shown.
const form = document.getElementById("filters");
if (form) {
  const cards = [...document.querySelectorAll("[data-task]")];
  const blocks = [...document.querySelectorAll("[data-block]")];
  const count = document.getElementById("count");
  const choices = ["adapter", "task", "direction", "position"];
  const choose = (card, name) => {
    const wanted = form.elements[name].value;
    return wanted === "" || card.dataset[name] === wanted;
  };
  const apply = () => {
    const text = form.elements.text.value.toLowerCase();
    let shown = 0;
    for (const card of cards) {
      const fits = choices.every((name) => choose(card, name))
        && (text === "" || card.textContent.toLowerCase().includes(text));
      card.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    // Not all elements: the output that counts is one, and is never empty again.
    const filtered = [...choices, "text"].some((name) => form.elements[name].value !== "");
    for (const block of blocks) {
      const left = block.querySelectorAll("[data-task]:not([hidden])").length;
      block.hidden = left === 0;
      if (filtered && left > 0) block.open = true;
    }
    count.textContent = `${shown} of ${cards.length} documents`;
  };
  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  apply();
}
