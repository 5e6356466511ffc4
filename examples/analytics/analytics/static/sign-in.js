// Signs in, and shows the page in place of the form. The token stays in this function.
const form = document.querySelector("form");
const told = form.querySelector("[role=alert]");

async function signIn() {
  const signedIn = await fetch("/api/v1/auth/login", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(Object.fromEntries(new FormData(form))),
  });
  const answer = await signedIn.json();
  if (!signedIn.ok) return answer.detail ?? answer.title;
  const page = await fetch("/analytics/", {
    headers: { authorization: `Bearer ${answer.access_token}` },
  });
  if (page.status === 403) return "Only administrators may see this.";
  if (!page.ok) return "The numbers cannot be had now. Please try again.";
  const shown = new DOMParser().parseFromString(await page.text(), "text/html");
  document.querySelector("main").replaceWith(shown.querySelector("main"));
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  told.textContent = "";
  try {
    told.textContent = (await signIn()) ?? "";
  } catch {
    told.textContent = "There is no connection. Please try again.";
  }
});
