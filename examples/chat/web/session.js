// Who we are: the token of the log-in, kept in this browser so that a reload and other tabs share it.

const KEPT = "madang.session";

/** The token this page goes by. */
let token = current()?.token;

/** The kept session, `{token, user: {id, name}}`, or null. */
export function current() {
  try {
    const session = JSON.parse(localStorage.getItem(KEPT));
    return typeof session?.user?.name === "string" ? session : null;
  } catch {
    return null;
  }
}

/** Log in by name: keeps and returns the session, or throws `{code, message}`. */
export async function logIn(name) {
  let response;
  try {
    response = await fetch("/login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ name }),
    });
  } catch {
    throw { code: "unreachable" };
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw answer.error ?? { code: "other", message: `HTTP ${response.status}` };
  localStorage.setItem(KEPT, JSON.stringify(answer));
  token = answer.token;
  return answer;
}

/** Forget the session, in all tabs. */
export function forget() {
  localStorage.removeItem(KEPT);
  token = undefined;
}

/** Call back when another tab logged in or out, so that its session is not the one we go by. */
export function onOtherTab(callback) {
  addEventListener("storage", (event) => {
    // The page that was here before a reload counts as another one too: only a difference matters.
    if (event.key === KEPT && current()?.token !== token) callback();
  });
}
