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

// Log records as they come: <div data-tail="/api/v1/logs/tail?…" hidden>, above what has [data-lines].
for (const tail of document.querySelectorAll("[data-tail]")) {
  const most = 200;
  const button = tail.querySelector("button");
  const status = tail.querySelector("[role=status]");
  const lines = document.querySelector("[data-lines]");
  let source = null;
  let dropped = 0;
  const part = (parent, tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text) element.textContent = text;
    parent.append(element);
    return element;
  };
  // What is not seen, or lies about what is seen, is shown as the server's pages show it.
  const visible = (text) =>
    text
      .replace(/[\u0000-\u0008\u000b-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
      .replace(/[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, (c) =>
        `<${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}>`);
  const show = (record) => {
    const line = document.createElement("details");
    line.className = `line level-${record.level}`;
    const summary = part(line, "summary");
    part(summary, "span", "when", record.time.slice(0, 23).replace("T", " ").replace("Z", ""));
    part(summary, "span", "level", record.level);
    part(summary, "span", "service", visible(record.service));
    part(summary, "span", "said", visible(record.message.split("\n")[0].slice(0, 240)));
    const inside = part(line, "div", "inside");
    part(inside, "pre", "", visible(record.message));
    part(inside, "pre", "", visible(JSON.stringify(record.fields, null, 2)));
    if (record.trace_id) {
      const seconds = Math.floor(new Date(record.time).valueOf() / 1000);
      const link = part(part(inside, "p"), "a", "mono", record.trace_id);
      link.href = `/admin/logs/trace/${record.trace_id}?at=${seconds}`;
    }
    document.querySelector(".empty")?.remove();
    lines.prepend(line);
    while (lines.children.length > most) lines.lastElementChild.remove();
  };
  const stop = () => {
    source?.close();
    source = null;
    button.setAttribute("aria-pressed", "false");
    status.textContent = "";
  };
  const say = (text) => {
    status.textContent = dropped ? `${text} ${dropped} came too fast to be shown.` : text;
  };
  button.addEventListener("click", () => {
    if (source) return stop();
    dropped = 0;
    source = new EventSource(tail.dataset.tail);
    button.setAttribute("aria-pressed", "true");
    say("Connecting …");
    source.addEventListener("ready", () => say("New records appear as they come."));
    source.addEventListener("record", (event) => show(JSON.parse(event.data)));
    source.addEventListener("dropped", (event) => {
      dropped += JSON.parse(event.data).dropped;
      say("New records appear as they come.");
    });
    source.addEventListener("error", () => say("The connection was lost. Trying again …"));
  });
  tail.hidden = false;
}
