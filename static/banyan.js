// What pages do better with a script. All of them work without it.
"use strict";

// Times in the viewer's zone and words: <time datetime="2026-01-02T03:04:05Z">2026-01-02 03:04 UTC</time>.
const dateTime = new Intl.DateTimeFormat(document.documentElement.lang, {
  dateStyle: "medium",
  timeStyle: "short",
});
function showTimes(part) {
  for (const time of part.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.valueOf())) {
      time.title = time.dateTime;
      time.textContent = dateTime.format(at);
    }
  }
}
showTimes(document);

// What cannot be undone asks first: <form data-confirm="Delete the account?">.
for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => {
    if (!window.confirm(form.dataset.confirm)) event.preventDefault();
  });
}

// A form that was sent is not sent twice by an impatient second click.
for (const form of document.querySelectorAll("form[method=post]")) {
  form.addEventListener("submit", (event) => {
    if (event.defaultPrevented) return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
}
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// Passwords can be looked at: <button type="button" data-reveal="id">.
for (const button of document.querySelectorAll("button[data-reveal]")) {
  const field = document.getElementById(button.dataset.reveal);
  button.hidden = false;
  button.addEventListener("click", () => {
    const shown = field.type === "text";
    field.type = shown ? "password" : "text";
    button.setAttribute("aria-pressed", String(!shown));
  });
}

// Where people are, for accounts that begin here.
for (const field of document.querySelectorAll("input[data-time-zone]")) {
  field.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "";
}

// Search as you type: <form data-live="#found">. What comes takes the place of what the selector finds.
for (const form of document.querySelectorAll("form[data-live]")) {
  let latest = 0;
  let timer;
  const search = async () => {
    const asked = ++latest;
    const url = new URL(form.action);
    url.search = new URLSearchParams(new FormData(form));
    const answer = await fetch(url, { headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.querySelector(form.dataset.live);
    if (asked !== latest || !found) return;
    document.querySelector(form.dataset.live).replaceWith(found);
    history.replaceState(null, "", url);
    showTimes(found);
  };
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => search().catch(() => {}), 150);
  });
}

// The browser's own time zone, where another is chosen: <button type="button" data-suggest-zone="id">.
for (const button of document.querySelectorAll("button[data-suggest-zone]")) {
  const select = document.getElementById(button.dataset.suggestZone);
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const known = [...select.options].some((option) => option.value === zone);
  const offer = () => {
    button.hidden = !known || select.value === zone;
  };
  button.querySelector("span").textContent = zone;
  button.addEventListener("click", () => {
    select.value = zone;
    offer();
    select.focus();
  });
  select.addEventListener("change", offer);
  offer();
}

// A picture is seen before it is sent: <input type="file" data-preview="id of an img">.
for (const input of document.querySelectorAll("input[data-preview]")) {
  const picture = document.getElementById(input.dataset.preview);
  input.addEventListener("change", () => {
    const [file] = input.files;
    if (!file) return;
    const reader = new FileReader();
    reader.addEventListener("load", () => {
      picture.src = reader.result;
      picture.hidden = false;
    });
    reader.readAsDataURL(file);
  });
}

// The development mailbox looks for new mail by itself: <… data-reload="seconds">.
for (const part of document.querySelectorAll("[data-reload]")) {
  setTimeout(() => window.location.reload(), part.dataset.reload * 1000);
}
