import { useId, useState } from 'react';
import type { FormEvent } from 'react';
import { otherAccounts } from '../store/accounts';
import { Avatar } from './Avatar';
import { CitySelect } from './CitySelect';
import { useChat, useEngine } from './context';
import { explain } from './explain';
import { World } from './icons';

const zones = [
  { value: '', label: 'wherever this server’s rules say' },
  { value: 'eu', label: 'the European Union' },
  { value: 'in', label: 'India' },
];

/** Auth signs a person up or in. */
export function Auth() {
  const engine = useEngine();
  const notice = useChat((state) => state.notice);
  const [signup, setSignup] = useState(false);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string>();

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const field = (name: string) => String(form.get(name) ?? '');
    setBusy(true);
    setFailure(undefined);
    try {
      await engine.signIn({
        kind: signup ? 'signup' : 'login',
        username: field('username').trim(),
        password: field('password'),
        zone: field('zone'),
      });
    } catch (error) {
      setFailure(explain(error));
      setBusy(false);
    }
  }

  return (
    <main className="auth">
      <section className="auth-intro">
        <World />
        <div className="auth-words">
          <h1>Meridian</h1>
          <p>One chat for people on every continent. When a region of the world goes dark, your conversation goes on.</p>
        </div>
      </section>
      <section className="auth-card" aria-label={signup ? 'Sign up' : 'Log in'}>
        <form onSubmit={(event) => void submit(event)}>
          <h2>{signup ? 'Create an account' : 'Welcome back'}</h2>
          <Credentials signup={signup} />
          {signup && <ZoneField />}
          <p className="form-error" role="alert">
            {failure ?? notice}
          </p>
          <button type="submit" className="button button-main" data-testid="auth-submit" disabled={busy}>
            {busy ? 'One moment …' : signup ? 'Sign up' : 'Log in'}
          </button>
          <p className="auth-other">
            {signup ? 'You have an account?' : 'New here?'}{' '}
            <button
              type="button"
              className="link-button"
              data-testid="auth-switch"
              onClick={() => {
                setSignup(!signup);
                setFailure(undefined);
              }}
            >
              {signup ? 'Log in' : 'Create an account'}
            </button>
          </p>
        </form>
        <KnownAccounts />
        <CitySelect />
      </section>
    </main>
  );
}

function Credentials({ signup }: { signup: boolean }) {
  const id = useId();
  return (
    <>
      <div className="field">
        <label htmlFor={`${id}-name`}>Username</label>
        <input
          id={`${id}-name`}
          name="username"
          data-testid="auth-username"
          autoComplete="username"
          autoCapitalize="none"
          spellCheck={false}
          required
          minLength={3}
          maxLength={32}
        />
        {signup && <p className="hint">3 to 32 letters, digits, dots, dashes or underscores.</p>}
      </div>
      <div className="field">
        <label htmlFor={`${id}-password`}>Password</label>
        <input
          id={`${id}-password`}
          name="password"
          type="password"
          data-testid="auth-password"
          autoComplete={signup ? 'new-password' : 'current-password'}
          required
        />
      </div>
    </>
  );
}

function ZoneField() {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>Keep my data in</label>
      <select id={id} name="zone" data-testid="auth-zone" defaultValue="">
        {zones.map(({ value, label }) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
      <p className="hint">Your messages are stored there and nowhere else.</p>
    </div>
  );
}

function KnownAccounts() {
  const engine = useEngine();
  const known = otherAccounts(undefined);
  if (known.length === 0) return null;
  return (
    <ul className="known" aria-label="Signed in on this device">
      {known.map(({ user_id, username }) => (
        <li key={user_id}>
          <button type="button" className="known-button" onClick={() => void engine.switchTo(user_id)}>
            <Avatar name={username} size="small" />
            Go on as {username}
          </button>
        </li>
      ))}
    </ul>
  );
}
