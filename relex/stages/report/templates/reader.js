for (const time of document.querySelectorAll("time")) {
  const parts = {dateStyle: "long", timeStyle: "short"};
  time.textContent = new Date(time.dateTime).toLocaleString([], time.hasAttribute("data-day") ? {dateStyle: "medium"} : parts);
}
