import { useState } from 'react';
import { otherAccounts, readTheme, saveTheme } from '../store/accounts';
import type { Theme } from '../store/accounts';
import { Avatar } from './Avatar';
import { useChat, useEngine } from './context';
import { Dialog } from './Dialog';
import { formatZone } from './format';
import { applyTheme } from './theme';

const themes: { value: Theme; label: string }[] = [
  { value: 'system', label: 'System' },
  { value: 'light', label: 'Light' },
  { value: 'dark', label: 'Dark' },
];

export default function Settings({ onClose }: { onClose: () => void }) {
  const engine = useEngine();
  const me = useChat((state) => state.me);
  const waiting = useChat((state) => state.outbox.length);
  const [about, setAbout] = useState(false);
  if (!me) return null;
  if (about) return <About onClose={() => setAbout(false)} />;
  const others = otherAccounts(me.user_id);
  return (
    <Dialog title="Settings" onClose={onClose}>
      <div className="settings-me">
        <Avatar name={me.display_name ?? me.username} size="large" />
        <div>
          <strong>{me.display_name ?? me.username}</strong>
          <p className="hint">
            @{me.username} · data kept in {formatZone(me.home_zone)}
            {me.pinned && ' · pinned'}
          </p>
        </div>
      </div>
      <ThemeChoice />
      <section className="settings-group" aria-label="Accounts">
        {others.map(({ user_id, username }) => (
          <button key={user_id} type="button" className="row-button" onClick={() => void engine.switchTo(user_id)}>
            <Avatar name={username} size="small" />
            Use {username} in this tab
          </button>
        ))}
        <button type="button" className="row-button" data-testid="add-account" onClick={() => void engine.switchTo(undefined)}>
          Use another account in this tab
        </button>
        <button type="button" className="row-button" data-testid="about-open" onClick={() => setAbout(true)}>
          About Meridian
        </button>
        <button type="button" className="row-button row-danger" data-testid="sign-out" onClick={() => void engine.signOut()}>
          Sign out and delete what this device keeps
        </button>
        {waiting > 0 && <p className="hint">{waiting} of your messages and changes are not yet safe; signing out gives them up.</p>}
      </section>
    </Dialog>
  );
}

function ThemeChoice() {
  const [theme, setTheme] = useState(readTheme);
  return (
    <fieldset className="segments">
      <legend>Appearance</legend>
      {themes.map(({ value, label }) => (
        <label key={value}>
          <input
            type="radio"
            name="theme"
            value={value}
            checked={theme === value}
            onChange={() => {
              setTheme(value);
              saveTheme(value);
              applyTheme(value);
            }}
          />
          <span>{label}</span>
        </label>
      ))}
    </fieldset>
  );
}

function About({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="About Meridian" onClose={onClose}>
      <p>A chat that runs in several regions of the world as one system, on servers of your own.</p>
      <dl className="facts">
        <dt>Licence</dt>
        <dd>Apache-2.0</dd>
        <dt>Places of addresses</dt>
        <dd>
          <a href="https://db-ip.com" target="_blank" rel="noopener noreferrer">
            IP Geolocation by DB-IP
          </a>
        </dd>
      </dl>
    </Dialog>
  );
}
