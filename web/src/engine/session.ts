// The access token: always a valid one, asked for once at a time.

import { RestError } from '../protocol/rest';
import type { Rest } from '../protocol/rest';
import { accountOf, readAccount, saveAccount } from '../store/accounts';
import type { Account } from '../store/accounts';
import type { Clock } from './clock';

/** A token with less than this left is renewed before it is used. */
const margin_ms = 60_000;

export interface SessionOptions {
  clock: Clock;
  rest: Pick<Rest, 'refresh'>;
  /** The refresh token is no longer taken: the person has to sign in again. */
  onEnded: () => void;
}

export class Session {
  private renewing: Promise<string | undefined> | undefined;
  private ended = false;
  private stale = false;

  constructor(
    private account: Account,
    private readonly options: SessionOptions,
  ) {}

  /** token gives a valid access token, or undefined when none is to be had now. */
  token(renew = false): Promise<string | undefined> {
    if (this.ended) return Promise.resolve(undefined);
    this.adopt();
    const left_ms = this.account.token_until - this.options.clock.now();
    if (!renew && !this.stale && left_ms > margin_ms) return Promise.resolve(this.account.token);
    this.renewing ??= this.renew().finally(() => (this.renewing = undefined));
    return this.renewing;
  }

  /** refused notes that the server did not take the token: the next one asked for is a new one. */
  refused(): void {
    this.stale = true;
  }

  /** adopt takes what another tab of the same account renewed. */
  private adopt(): void {
    const stored = readAccount(this.account.user_id);
    if (!stored || stored.token_until <= this.account.token_until) return;
    this.account = stored;
    this.stale = false;
  }

  private async renew(): Promise<string | undefined> {
    const used = this.account.refresh_token;
    try {
      const tokens = await this.options.rest.refresh(used);
      this.account = { ...this.account, ...accountOf(tokens, this.options.clock.now()) };
      this.stale = false;
      saveAccount(this.account);
      return this.account.token;
    } catch (error) {
      if (!(error instanceof RestError) || error.status !== 401) return undefined; // not reachable: later
      const stored = readAccount(this.account.user_id);
      if (stored && stored.refresh_token !== used) {
        this.account = stored; // another tab was faster with the same refresh token
        this.stale = false;
        return stored.token;
      }
      this.ended = true;
      this.options.onEnded();
      return undefined;
    }
  }
}
