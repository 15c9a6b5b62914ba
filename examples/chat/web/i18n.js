// Every text of the page, in Korean and English, and the language chosen.

const TEXTS = {
  ko: {
    "title": "마당 — 같이 이야기해요",
    "brand": "마당",
    "language": "언어",

    "login.heading": "마당에 오신 것을 환영합니다",
    "login.lead": "이름만 있으면 들어올 수 있습니다. 방을 골라 이야기를 나눠 보세요.",
    "login.name": "이름",
    "login.placeholder": "예: 민지",
    "login.enter": "들어가기",
    "login.entering": "들어가는 중…",
    "login.hint": "혼자 둘러보시나요? 시크릿 창을 하나 더 열면 다른 사람으로 들어올 수 있습니다.",
    "login.refused": "서버가 연결을 받아 주지 않았습니다.",

    "error.name_empty": "이름을 적어 주세요.",
    "error.name_too_long": "이름은 {limit}자까지 쓸 수 있습니다.",
    "error.name_unprintable": "이름에 보이지 않는 글자가 들어 있습니다.",
    "error.name_taken": "지금 다른 사람이 그 이름을 쓰고 있습니다. 다른 이름을 골라 주세요.",
    "error.token_missing": "로그인 정보가 없습니다. 이름을 적고 들어와 주세요.",
    "error.token_invalid": "로그인 정보가 올바르지 않습니다. 다시 들어와 주세요.",
    "error.token_expired": "로그인한 지 오래되어 만료되었습니다. 다시 들어와 주세요.",
    "error.invalid_arguments": "서버가 내용을 받아 주지 않았습니다.",
    "error.text_too_long": "메시지는 {limit}자까지 보낼 수 있습니다.",
    "error.not_in_room": "이 방에 들어와 있지 않습니다.",
    "error.no_such_room": "없는 방입니다.",
    "error.too_many_rooms": "방이 가득 차서 더 만들 수 없습니다.",
    "error.person_away": "그 사람은 지금 여기 없습니다.",
    "error.internal_error": "서버에 문제가 생겼습니다.",
    "error.timeout": "서버가 제때 답하지 않았습니다.",
    "error.disconnected": "지금은 연결이 끊겨 있습니다. 다시 연결된 뒤에 해 주세요.",
    "error.unreachable": "서버에 닿을 수 없습니다. 서버가 켜져 있는지 확인해 주세요.",
    "error.other": "문제가 생겼습니다.",
    "error.server_says": "서버의 말: {message}",

    "room.madang": "마당",
    "room.sarangbang": "사랑방",
    "room.bueok": "부엌",
    "room.darak": "다락",

    "rooms.panel": "방 목록",
    "rooms.show": "방 목록 열기",
    "rooms.mine": "들어온 방",
    "rooms.others": "다른 방",
    "rooms.new": "새 방",
    "rooms.people": "{n}명 있음",
    "rooms.unread": "읽지 않은 메시지 {n}개",
    "rooms.leave": "나가기",
    "rooms.leave_label": "{room} 방에서 나가기",
    "rooms.none_open": "방을 골라 주세요",
    "rooms.none_open_lead": "왼쪽 목록에서 방을 고르거나 새 방을 만들어 보세요.",

    "newroom.heading": "새 방 만들기",
    "newroom.lead": "누구나 들어올 수 있는 방이 생깁니다.",
    "newroom.name": "방 이름",
    "newroom.create": "만들기",

    "people.panel": "같이 있는 사람",
    "people.show": "같이 있는 사람 {n}명 보기",
    "people.heading": "같이 있는 사람",
    "people.me": "나",
    "people.alone": "아직 혼자네요. 시크릿 창에서 다른 이름으로 들어와 보세요.",
    "people.notify": "알림 보내기",
    "people.notify_label": "{name} 님에게 알림 보내기",

    "talk.log": "{room} 대화",
    "talk.empty": "아직 아무 말도 없습니다. 먼저 인사해 보세요.",
    "talk.earlier": "이전 메시지 더 보기",
    "talk.joined": "{name} 님이 들어왔습니다",
    "talk.left": "{name} 님이 나갔습니다",
    "talk.unread": "여기부터 읽지 않은 메시지",
    "talk.newer": "새 메시지 보기",
    "talk.typing_one": "{a} 님이 입력하고 있습니다…",
    "talk.typing_two": "{a} 님과 {b} 님이 입력하고 있습니다…",
    "talk.typing_many": "여러 사람이 입력하고 있습니다…",
    "talk.loading": "대화를 가져오는 중…",

    "state.sending": "보내는 중",
    "state.queued": "연결되면 보냄",
    "state.sent": "보냄",
    "state.failed": "보내지 못함",
    "state.retry": "다시 보내기",
    "state.discard": "지우기",

    "compose.label": "메시지",
    "compose.placeholder": "{room}에 메시지 보내기",
    "compose.send": "보내기",
    "compose.hint": "Enter로 보내고, Shift+Enter로 줄을 바꿉니다.",
    "compose.left": "{n}자 남음",
    "compose.over": "{n}자 넘침",

    "bell.panel": "알림",
    "bell.show": "알림 열기",
    "bell.show_unread": "알림 열기, 읽지 않은 알림 {n}개",
    "bell.none": "아직 받은 알림이 없습니다.",
    "bell.from": "{name} 님의 알림",
    "bell.close": "닫기",

    "notify.heading": "{name} 님에게 알림",
    "notify.lead": "이 사람이 열어 둔 모든 탭에만 보입니다.",
    "notify.text": "내용",
    "notify.send": "보내기",
    "notify.sent": "{name} 님에게 알림을 보냈습니다.",

    "dialog.cancel": "취소",
    "dialog.close": "닫기",

    "status.connecting": "연결하는 중…",
    "status.connected": "연결됨",
    "status.reconnecting": "연결이 끊겼습니다. 다시 연결하는 중…",
    "status.attempt": "{n}번째 시도",
    "status.offline": "인터넷에 연결되어 있지 않습니다. 연결되면 이어서 합니다.",
    "status.ended": "서버가 연결을 끊었습니다.",
    "status.refused": "서버가 연결을 받아 주지 않았습니다.",
    "status.back": "다시 연결되었습니다.",
    "status.missed": "그동안 온 메시지 {n}개를 받았습니다.",
    "status.queued": "적어 둔 메시지 {n}개는 연결되면 보냅니다.",
    "status.retry": "지금 다시 시도",
    "status.short.connecting": "연결 중",
    "status.short.reconnecting": "끊김",
    "status.short.offline": "오프라인",
    "status.short.ended": "끊김",
    "status.short.refused": "거절됨",

    "me.logout": "로그아웃",
  },

  en: {
    "title": "Madang — come in and talk",
    "brand": "Madang",
    "language": "Language",

    "login.heading": "Welcome to the madang",
    "login.lead": "The madang is the open yard of a Korean house, where people meet. A name is all you need to come in.",
    "login.name": "Your name",
    "login.placeholder": "For example, Minji",
    "login.enter": "Come in",
    "login.entering": "Coming in…",
    "login.hint": "Looking around alone? Open a private window and come in as somebody else.",
    "login.refused": "The server refused the connection.",

    "error.name_empty": "Please write your name.",
    "error.name_too_long": "A name can have up to {limit} characters.",
    "error.name_unprintable": "The name has characters that cannot be shown.",
    "error.name_taken": "Somebody else is here under that name. Please choose another one.",
    "error.token_missing": "You are not logged in. Write your name to come in.",
    "error.token_invalid": "Your log-in is not valid. Please come in again.",
    "error.token_expired": "Your log-in has expired. Please come in again.",
    "error.invalid_arguments": "The server did not accept this.",
    "error.text_too_long": "A message can have up to {limit} characters.",
    "error.not_in_room": "You are not in this room.",
    "error.no_such_room": "There is no such room.",
    "error.too_many_rooms": "The house is full: no more rooms can be opened.",
    "error.person_away": "That person is not here any more.",
    "error.internal_error": "Something went wrong on the server.",
    "error.timeout": "The server did not answer in time.",
    "error.disconnected": "The connection is lost right now. Please try again when it is back.",
    "error.unreachable": "The server cannot be reached. Is it running?",
    "error.other": "Something went wrong.",
    "error.server_says": "The server says: {message}",

    "room.madang": "Madang, the yard",
    "room.sarangbang": "Sarangbang, the parlour",
    "room.bueok": "Bueok, the kitchen",
    "room.darak": "Darak, the attic",

    "rooms.panel": "Rooms",
    "rooms.show": "Show the rooms",
    "rooms.mine": "Your rooms",
    "rooms.others": "Other rooms",
    "rooms.new": "New room",
    "rooms.people": { one: "1 person here", other: "{n} people here" },
    "rooms.unread": { one: "1 unread message", other: "{n} unread messages" },
    "rooms.leave": "Leave",
    "rooms.leave_label": "Leave {room}",
    "rooms.none_open": "Choose a room",
    "rooms.none_open_lead": "Pick one from the list, or open a new one.",

    "newroom.heading": "Open a new room",
    "newroom.lead": "Everybody in the house can come in.",
    "newroom.name": "Name of the room",
    "newroom.create": "Open it",

    "people.panel": "People here",
    "people.show": { one: "Show who is here: 1 person", other: "Show who is here: {n} people" },
    "people.heading": "People here",
    "people.me": "you",
    "people.alone": "Nobody else yet. Open a private window and come in under another name.",
    "people.notify": "Notify",
    "people.notify_label": "Send {name} a notification",

    "talk.log": "Conversation in {room}",
    "talk.empty": "Nothing has been said yet. Say hello.",
    "talk.earlier": "Show earlier messages",
    "talk.joined": "{name} came in",
    "talk.left": "{name} left",
    "talk.unread": "Unread from here",
    "talk.newer": "See the new messages",
    "talk.typing_one": "{a} is typing…",
    "talk.typing_two": "{a} and {b} are typing…",
    "talk.typing_many": "Several people are typing…",
    "talk.loading": "Fetching the conversation…",

    "state.sending": "Sending",
    "state.queued": "Waiting for the connection",
    "state.sent": "Sent",
    "state.failed": "Not sent",
    "state.retry": "Try again",
    "state.discard": "Delete",

    "compose.label": "Message",
    "compose.placeholder": "Message {room}",
    "compose.send": "Send",
    "compose.hint": "Enter sends, Shift+Enter starts a new line.",
    "compose.left": { one: "1 character left", other: "{n} characters left" },
    "compose.over": { one: "1 character too many", other: "{n} characters too many" },

    "bell.panel": "Notifications",
    "bell.show": "Show notifications",
    "bell.show_unread": { one: "Show notifications, 1 unread", other: "Show notifications, {n} unread" },
    "bell.none": "No notifications yet.",
    "bell.from": "Notification from {name}",
    "bell.close": "Close",

    "notify.heading": "Notify {name}",
    "notify.lead": "Only this person sees it, in every tab they have open.",
    "notify.text": "Message",
    "notify.send": "Send",
    "notify.sent": "{name} has been notified.",

    "dialog.cancel": "Cancel",
    "dialog.close": "Close",

    "status.connecting": "Connecting…",
    "status.connected": "Connected",
    "status.reconnecting": "The connection was lost. Reconnecting…",
    "status.attempt": "attempt {n}",
    "status.offline": "You are offline. The chat goes on when you are back.",
    "status.ended": "The server closed the connection.",
    "status.refused": "The server refused the connection.",
    "status.back": "Connected again.",
    "status.missed": { one: "1 message came while you were away.", other: "{n} messages came while you were away." },
    "status.queued": {
      one: "1 message you wrote will be sent then.",
      other: "{n} messages you wrote will be sent then.",
    },
    "status.retry": "Try now",
    "status.short.connecting": "Connecting",
    "status.short.reconnecting": "Disconnected",
    "status.short.offline": "Offline",
    "status.short.ended": "Disconnected",
    "status.short.refused": "Refused",

    "me.logout": "Log out",
  },
};

const KEPT = "madang.language";

/** Tells when another language was chosen ("change"). */
export const languages = new EventTarget();

export let language = initial();

function initial() {
  const kept = localStorage.getItem(KEPT);
  if (kept in TEXTS) return kept;
  const wanted = navigator.languages.map((tag) => tag.slice(0, 2)).find((tag) => tag in TEXTS);
  return wanted ?? "en";
}

/** The text of a key, with {placeholders} filled in; `n` also chooses between one and many. */
export function t(key, values = {}) {
  let text = TEXTS[language][key];
  if (text === undefined) throw new Error(`no text for ${key}`);
  if (typeof text === "object") text = text[new Intl.PluralRules(language).select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** Tell whether there is a text for a key. */
export function has(key) {
  return key in TEXTS[language];
}

/** What went wrong, for people: by its code if we know it, and otherwise in the server's own words. */
export function explain(error, values = {}) {
  const known = has(`error.${error.code}`);
  return t(known ? `error.${error.code}` : "error.other", values);
}

/** The server's own words about what went wrong, if they were its words. */
export function quote(error) {
  return error.message ? t("error.server_says", { message: error.message }) : "";
}

/** Fill in the texts of the elements that name theirs in data-text, data-label or data-placeholder. */
export function translate(root = document) {
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", t(element.dataset.label));
  }
  for (const element of root.querySelectorAll("[data-placeholder]")) {
    element.setAttribute("placeholder", t(element.dataset.placeholder));
  }
}

/** Choose a language and say so to everybody. */
export function speak(chosen) {
  language = chosen;
  localStorage.setItem(KEPT, chosen);
  document.documentElement.lang = chosen;
  translate();
  languages.dispatchEvent(new Event("change"));
}

/** The hour and minute of a moment, as the reader writes it. */
export function clock(moment) {
  return new Intl.DateTimeFormat(language, { hour: "numeric", minute: "2-digit" }).format(moment);
}

/** The day of a moment, in full. */
export function day(moment) {
  return new Intl.DateTimeFormat(language, { dateStyle: "full" }).format(moment);
}

/** The day and time of a moment, in full. */
export function date(moment) {
  return new Intl.DateTimeFormat(language, { dateStyle: "long", timeStyle: "short" }).format(moment);
}
