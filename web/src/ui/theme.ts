import type { Theme } from '../store/accounts';

/** applyTheme sets light or dark for the whole page; "system" leaves it to the browser. */
export function applyTheme(theme: Theme): void {
  if (theme === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = theme;
}
