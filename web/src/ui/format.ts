// Dates, times and names as people read them, in the language of the browser.

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: 'long' });
const shortDay = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const longDay = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const yearDay = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long', year: 'numeric' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' });
const day_ms = 24 * 3_600_000;

export function formatTime(at: number): string {
  return time.format(at);
}

export function formatFull(at: number): string {
  return full.format(at);
}

/** dayOf numbers local days, so that two times of one day give the same. */
export function dayOf(at: number): number {
  const date = new Date(at);
  return Math.floor(Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / day_ms);
}

/** formatDay names the day of a group of messages. */
export function formatDay(at: number, now: number): string {
  const ago = dayOf(now) - dayOf(at);
  if (ago === 0 || ago === 1) return capital(relative.format(-ago, 'day'));
  if (ago > 1 && ago < 7) return weekday.format(at);
  return new Date(at).getFullYear() === new Date(now).getFullYear() ? longDay.format(at) : yearDay.format(at);
}

/** formatWhen is short, for a list: the time today, the day before that. */
export function formatWhen(at: number, now: number): string {
  const ago = dayOf(now) - dayOf(at);
  if (ago === 0) return time.format(at);
  if (ago === 1) return capital(relative.format(-1, 'day'));
  return shortDay.format(at);
}

/** formatSeen tells when somebody was last there. */
export function formatSeen(last_seen: string | undefined, now: number): string {
  const at = last_seen === undefined ? NaN : Date.parse(last_seen);
  if (Number.isNaN(at)) return 'offline';
  const minutes = Math.round((now - at) / 60_000);
  if (minutes < 1) return 'last seen just now';
  if (minutes < 60) return `last seen ${relative.format(-minutes, 'minute')}`;
  if (minutes < 24 * 60) return `last seen ${relative.format(-Math.round(minutes / 60), 'hour')}`;
  return `last seen ${formatWhen(at, now)}`;
}

const zoneNames: Record<string, string> = { world: 'all regions', eu: 'the European Union', in: 'India' };

/** formatZone names a residency zone; one that this client does not know keeps its own name. */
export function formatZone(zone: string): string {
  return zoneNames[zone] ?? zone;
}

/** formatRtt shows a round trip. */
export function formatRtt(ms: number): string {
  return ms < 1 ? '< 1 ms' : `${Math.round(ms)} ms`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
