for (const time of document.querySelectorAll("time")) {
  const parts = {dateStyle: "long", timeStyle: "short"};
  time.textContent = new Date(time.dateTime).toLocaleString([], time.hasAttribute("data-day") ? {dateStyle: "medium"} : parts);
}
const wider = new ResizeObserver(changes => {
  for (const {target} of changes) target.classList.toggle("wider", target.scrollWidth > target.clientWidth);
});
for (const scroll of document.querySelectorAll(".scroll")) wider.observe(scroll);
