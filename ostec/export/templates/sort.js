"use strict";
const list = document.getElementById("items"), figure = document.getElementById("figure"),
  order = document.getElementById("order");
function sort() {
  const sign = order.value === "worse" ? 1 : -1;
  const gain = card => {
    const value = JSON.parse(card.dataset.gains)[figure.value];
    return value === undefined ? Infinity : sign * value;
  };
  const cards = [...list.children];
  cards.sort((a, b) => { const x = gain(a), y = gain(b); return x < y ? -1 : x > y ? 1 : 0; });
  list.append(...cards);
}
figure.addEventListener("change", sort);
order.addEventListener("change", sort);
sort();
