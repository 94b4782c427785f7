// Who is signed in on this device (shared by all tabs), who and where this tab is, and the last known regions.

import type { Route, Tokens } from '../protocol/types';

export interface Account {
  user_id: string;
  username: string;
  display_name?: string;
  home_zone: string;
  token: string;
  refresh_token: string;
  /** By this device's clock, in milliseconds since 1970. */
  token_until: number;
}

const accountsKey = 'meridian.accounts';
const lastKey = 'meridian.last';
const tabKey = 'meridian.tab';
const cityKey = 'meridian.city';
const themeKey = 'meridian.theme';
const routeKey = 'meridian.route';
const longest_ms = 10 * 60_000;

/** accountOf keeps what a sign-in brought. A wrong clock on this device must not make a fresh token look expired. */
export function accountOf(tokens: Tokens, now: number): Account {
  const left = Date.parse(tokens.expires_at) - now;
  return {
    user_id: tokens.user_id,
    username: tokens.username,
    ...(tokens.display_name === undefined ? {} : { display_name: tokens.display_name }),
    home_zone: tokens.home_zone,
    token: tokens.token,
    refresh_token: tokens.refresh_token,
    token_until: now + (left > 0 && left < longest_ms ? left : longest_ms),
  };
}

/** currentAccount gives this tab's account: its own choice, else the one used last on this device. */
export function currentAccount(): Account | undefined {
  const tab = sessionStorage.getItem(tabKey);
  if (tab === '') return undefined; // "use another account" was chosen here
  return readAccount(tab ?? localStorage.getItem(lastKey) ?? '');
}

export function readAccount(user_id: string): Account | undefined {
  return readAccounts()[user_id];
}

export function saveAccount(account: Account): void {
  localStorage.setItem(accountsKey, JSON.stringify({ ...readAccounts(), [account.user_id]: account }));
}

/** useAccount makes an account this tab's, and the one that new tabs start with. */
export function useInThisTab(user_id: string): void {
  sessionStorage.setItem(tabKey, user_id);
  localStorage.setItem(lastKey, user_id);
}

/** leaveTab lets this tab sign in as somebody else; the account stays on the device. */
export function leaveTab(): void {
  sessionStorage.setItem(tabKey, '');
}

export function forgetAccount(user_id: string): void {
  const { [user_id]: _, ...rest } = readAccounts();
  localStorage.setItem(accountsKey, JSON.stringify(rest));
  if (localStorage.getItem(lastKey) === user_id) localStorage.removeItem(lastKey);
  sessionStorage.removeItem(tabKey);
}

/** otherAccounts gives who else is signed in on this device. */
export function otherAccounts(user_id: string | undefined): Account[] {
  return Object.values(readAccounts()).filter((account) => account.user_id !== user_id);
}

function readAccounts(): Record<string, Account> {
  return readJSON<Record<string, Account>>(localStorage, accountsKey) ?? {};
}

export function readCity(): string | undefined {
  return sessionStorage.getItem(cityKey) ?? undefined;
}

export function saveCity(city: string | undefined): void {
  if (city === undefined) sessionStorage.removeItem(cityKey);
  else sessionStorage.setItem(cityKey, city);
}

export type Theme = 'system' | 'light' | 'dark';

export function readTheme(): Theme {
  const theme = localStorage.getItem(themeKey);
  return theme === 'light' || theme === 'dark' ? theme : 'system';
}

export function saveTheme(theme: Theme): void {
  localStorage.setItem(themeKey, theme);
}

/** A remembered route is for one user in one place. */
export function readRoute(user_id: string, as: string | undefined): Route | undefined {
  return readJSON<Route>(localStorage, `${routeKey}:${user_id}:${as ?? ''}`);
}

export function saveRoute(user_id: string, as: string | undefined, route: Route): void {
  localStorage.setItem(`${routeKey}:${user_id}:${as ?? ''}`, JSON.stringify(route));
}

function readJSON<T>(storage: globalThis.Storage, key: string): T | undefined {
  const text = storage.getItem(key);
  if (text === null) return undefined;
  try {
    return JSON.parse(text) as T;
  } catch {
    return undefined;
  }
}
