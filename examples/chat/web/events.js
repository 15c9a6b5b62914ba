// The names and limits of ../events.py, where the payloads are described; a test compares the two files.

export const JOIN_ROOM = "join room";
export const LEAVE_ROOM = "leave room";
export const NEW_ROOM = "new room";
export const EARLIER_MESSAGES = "earlier messages";
export const SEND_MESSAGE = "send message";
export const TYPING = "typing";

export const ROOMS = "rooms";
export const ROOM = "room";
export const PRESENCE = "presence";
export const CHAT_MESSAGE = "chat message";
export const USER_TYPING = "user typing";

export const NOTIFY = "notify";
export const MARK_READ = "mark read";

export const NOTIFICATIONS = "notifications";
export const NOTIFICATION = "notification";
export const NOTIFICATIONS_READ = "notifications read";

export const NAME_LENGTH = 24;
export const TEXT_LENGTH = 1000;
export const NOTE_LENGTH = 200;
