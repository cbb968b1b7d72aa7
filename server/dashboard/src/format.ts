// Numbers, times and sizes as people read them. What is not known is a dash.

export const UNKNOWN = "–";

const whole = new Intl.NumberFormat("en");
const time = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

export function count(number: number): string {
  return whole.format(number);
}

/** `one` thing or several `many`. */
export function plural(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`;
}

function scaled(number: number, step: number, units: string[]): string {
  let unit = 0;
  while (number >= step && unit < units.length - 1) {
    number /= step;
    unit += 1;
  }
  const digits = unit === 0 || number >= 100 ? 0 : number >= 10 ? 1 : 2;
  return `${number.toFixed(digits)} ${units[unit] ?? ""}`.trim();
}

export function bytes(size: number): string {
  return size < 0 ? UNKNOWN : scaled(size, 1_000, ["B", "kB", "MB", "GB", "TB", "PB"]);
}

/** Of records, or of anything else that there are many of. */
export function amount(number: number): string {
  return number < 10_000 ? count(number) : scaled(number, 1_000, ["", "k", "M", "G", "T"]).replace(" ", "\u202f");
}

export function rate(perSecond: number | undefined): string {
  if (perSecond === undefined) return UNKNOWN;
  return `${perSecond < 10 && perSecond > 0 ? perSecond.toFixed(1) : amount(Math.round(perSecond))}/s`;
}

export function duration(ms: number): string {
  if (ms < 0) return UNKNOWN;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const s = ms / 1_000;
  if (s < 60) return `${s < 10 ? s.toFixed(1) : Math.floor(s)} s`;
  const parts = [
    [Math.floor(s / 86_400), "d"],
    [Math.floor(s / 3_600) % 24, "h"],
    [Math.floor(s / 60) % 60, "min"],
    [Math.floor(s) % 60, "s"],
  ] as const;
  const first = parts.findIndex(([number]) => number > 0);
  return parts
    .slice(first, first + 2)
    .map(([number, unit]) => `${number} ${unit}`)
    .join(" ");
}

/** How long something is ago: nobody wants to see that change many times a second. */
export function ago(ms: number): string {
  return ms < 1_000 ? "just now" : `${duration(ms < 10_000 ? Math.floor(ms / 1_000) * 1_000 : ms).replace(".0 ", " ")} ago`;
}

/** A time that is to be compared with others of today. */
export function clock(at: number): string {
  return at <= 0 ? UNKNOWN : time.format(at);
}

export function moment(at: number): string {
  return at <= 0 ? UNKNOWN : `${day.format(at)}, ${time.format(at)}`;
}

/** The time of today, or the day. */
export function when(at: number): string {
  return day.format(at) === day.format(Date.now()) ? clock(at) : day.format(at);
}

/** The beginning of an id, enough to tell a few apart. */
export function short(id: string): string {
  return id.slice(0, 8);
}

/** A job's or task's state, in small letters but for the first one. */
export function words(state: string): string {
  const text = state.toLowerCase().replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
