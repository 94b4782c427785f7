// The REST half of the protocol: which call goes where, with which token, and how it walks from a dead region to the next.

import { trimSlash } from './types';
import type {
  Block, Contact, ConversationRow, Endpoint, ErrorBody, GroupInfo, GroupRow, Me, Member, Message, Role, Route, Tokens, UserInfo,
} from './types';

/** RestError is a refusal by the server (status > 0), or nobody answering (status 0, code "unreachable"). */
export class RestError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly retryable: boolean,
    readonly retryAfterMs?: number,
    readonly endpoints?: Endpoint[],
  ) {
    super(message);
    this.name = 'RestError';
  }
}

export interface RestOptions {
  /** The base URLs to try, best first. Asked at each call. */
  bases: () => string[];
  /** An access token that is still valid, or undefined when signed out. `renew` asks for a new one though. */
  token?: (renew: boolean) => Promise<string | undefined>;
  /** A base that did not answer, so that others avoid it for a while. */
  failed?: (base: string) => void;
  fetch?: typeof fetch;
}

interface Call {
  method: string;
  path: string;
  body?: unknown;
  /** Time for one region to answer, in milliseconds. */
  limitMs?: number;
  anonymous?: boolean;
}

const readLimitMs = 5_000;
const writeLimitMs = 10_000;

export class Rest {
  constructor(private readonly options: RestOptions) {}

  signup = (body: { username: string; password: string; zone?: string; device: string }): Promise<Tokens> =>
    this.call({ method: 'POST', path: '/v1/signup', body, anonymous: true });
  login = (body: { username: string; password: string; device: string }): Promise<Tokens> =>
    this.call({ method: 'POST', path: '/v1/login', body, anonymous: true });
  refresh = (refreshToken: string): Promise<Tokens> =>
    this.call({ method: 'POST', path: '/v1/token', body: { refresh_token: refreshToken }, anonymous: true });
  logout = (): Promise<void> => this.call({ method: 'POST', path: '/v1/logout', limitMs: 3_000 });
  me = (): Promise<Me> => this.call({ method: 'GET', path: '/v1/me' });
  user = (username: string): Promise<UserInfo> =>
    this.call({ method: 'GET', path: `/v1/users/${encodeURIComponent(username)}` });

  contacts = (after?: string): Promise<{ contacts: Contact[]; next?: string }> =>
    this.call({ method: 'GET', path: `/v1/contacts${query({ after, limit: '100' })}` });
  putContact = (username: string): Promise<Contact> =>
    this.call({ method: 'PUT', path: `/v1/contacts/${encodeURIComponent(username)}` });
  deleteContact = (username: string): Promise<void> =>
    this.call({ method: 'DELETE', path: `/v1/contacts/${encodeURIComponent(username)}` });
  blocks = (): Promise<{ blocks: Block[] }> => this.call({ method: 'GET', path: '/v1/blocks' });
  setBlock = (username: string, on: boolean): Promise<void> =>
    this.call({ method: on ? 'PUT' : 'DELETE', path: `/v1/blocks/${encodeURIComponent(username)}` });

  conversations = (before?: string): Promise<{ conversations: ConversationRow[]; next?: string }> =>
    this.call({ method: 'GET', path: `/v1/conversations${query({ before, limit: '100' })}` });
  messages = (conversation: string, before?: string, limit = 50): Promise<{ messages: Message[]; next?: string }> =>
    this.call({ method: 'GET', path: `/v1/conversations/${conversation}/messages${query({ before, limit: String(limit) })}` });

  createGroup = (body: { client_id: string; name: string; members: string[] }): Promise<GroupRow> =>
    this.call({ method: 'POST', path: '/v1/groups', body });
  group = (id: string, after?: string): Promise<GroupInfo> =>
    this.call({ method: 'GET', path: `/v1/groups/${id}${query({ after, limit: '100' })}` });
  renameGroup = (id: string, body: { client_id: string; name: string }): Promise<GroupRow> =>
    this.call({ method: 'PATCH', path: `/v1/groups/${id}`, body });
  putMember = (id: string, username: string, body: { client_id: string; role: Role }): Promise<Member> =>
    this.call({ method: 'PUT', path: `/v1/groups/${id}/members/${encodeURIComponent(username)}`, body });
  deleteMember = (id: string, username: string): Promise<void> =>
    this.call({ method: 'DELETE', path: `/v1/groups/${id}/members/${encodeURIComponent(username)}` });

  route = (ask: { as?: string | undefined; zone?: string; name?: string; failed?: string[]; anonymous?: boolean }): Promise<Route> =>
    this.call({
      method: 'GET',
      path: `/v1/route${query({ as: ask.as, zone: ask.zone, name: ask.name, failed: ask.failed })}`,
      limitMs: 2_500,
      ...(ask.anonymous ? { anonymous: true } : {}),
    });

  /**
   * call asks the regions in turn until one answers. A refusal is an answer, except "wrong region" (a redirect, whose
   * target a browser does not tell): there the next region is asked.
   */
  private async call<T>(call: Call): Promise<T> {
    const bases = [...new Set(this.options.bases().map(trimSlash))];
    let last: RestError = new RestError(0, 'unreachable', 'No region can be reached.', true);
    for (const base of bases) {
      try {
        return await this.callWithToken<T>(base, call);
      } catch (error) {
        if (!(error instanceof RestError)) throw error;
        if (error.status !== 0 && error.code !== 'wrong_region') throw error;
        if (error.status === 0) this.options.failed?.(base);
        last = error;
      }
    }
    throw last;
  }

  private async callWithToken<T>(base: string, call: Call): Promise<T> {
    if (call.anonymous || !this.options.token) return this.ask<T>(base, call, undefined);
    try {
      return await this.ask<T>(base, call, await this.options.token(false));
    } catch (error) {
      if (!(error instanceof RestError) || error.status !== 401) throw error;
      return this.ask<T>(base, call, await this.options.token(true));
    }
  }

  private async ask<T>(base: string, call: Call, token: string | undefined): Promise<T> {
    const headers: Record<string, string> = {};
    if (call.body !== undefined) headers['Content-Type'] = 'application/json';
    if (token !== undefined) headers['Authorization'] = `Bearer ${token}`;
    const limitMs = call.limitMs ?? (call.method === 'GET' ? readLimitMs : writeLimitMs);
    const doFetch = this.options.fetch ?? fetch;
    let response: Response;
    let text: string;
    try {
      response = await doFetch(base + call.path, {
        method: call.method,
        headers,
        // A redirect to another region would lose the Authorization header, so it is never followed.
        redirect: 'manual',
        credentials: 'omit',
        cache: 'no-store',
        signal: AbortSignal.timeout(limitMs),
        ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
      });
      text = await response.text();
    } catch {
      throw new RestError(0, 'unreachable', `${base} does not answer.`, true);
    }
    if (response.type === 'opaqueredirect' || response.status === 307) {
      throw new RestError(307, 'wrong_region', 'This region may not handle your data.', true);
    }
    if (response.ok) return (text === '' ? undefined : JSON.parse(text)) as T;
    throw refusal(response.status, text);
  }
}

function refusal(status: number, text: string): RestError {
  let body: Partial<ErrorBody> = {};
  try {
    body = JSON.parse(text) as Partial<ErrorBody>;
  } catch {
    // A proxy's page instead of the server's JSON: the status must do.
  }
  return new RestError(
    status, body.code ?? 'internal', body.message ?? `The server answered ${status}.`,
    body.retryable ?? status >= 500, body.retry_after_ms, body.endpoints,
  );
}

function query(parameters: Record<string, string | readonly string[] | undefined>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters))
    for (const one of [value ?? []].flat()) if (one !== '') search.append(name, one);
  const text = search.toString();
  return text === '' ? '' : `?${text}`;
}
