// The engine: everything that the client does, without anything that is shown. It owns the state; the UI calls the
// methods below and renders what they change.

import { Rest, RestError } from '../protocol/rest';
import { userIdOf } from '../protocol/types';
import { namePrefix } from '../protocol/usernames';
import type { Endpoint, ErrorFrame, EventFrame, HelloFrame, Route, ServerFrame, Tokens, WelcomeFrame } from '../protocol/types';
import * as accounts from '../store/accounts';
import type { Account } from '../store/accounts';
import type { Held } from './changes';
import { cityOf } from './cities';
import { Conversations } from './conversations';
import type { Environment } from './environment';
import { applyEvent } from './events';
import { Groups } from './groups';
import { History } from './history';
import { Link } from './link';
import type { Wish } from './outbox';
import { People } from './people';
import { Routing } from './routing';
import { Sender } from './sender';
import { Session } from './session';
import { createChatStore, initialState } from './state';
import type { ChatState, ChatStore } from './state';
import { resolve } from './timeline';
import { Writer } from '../store/storage';
import type { Loaded, Storage } from '../store/storage';

export interface SignIn {
  kind: 'login' | 'signup';
  username: string;
  password: string;
  /** Where to keep the data, at sign-up only; empty: where the deployment's rules say. */
  zone?: string;
}

/** How often a client that had to leave its best region looks whether it is back. */
const homecoming_ms = 30_000;

/** How often at most the cursor of a quiet link is written to the disk. */
const cursorEvery_ms = 20_000;

/** What lives as long as somebody is signed in. */
interface Life {
  account: Account;
  session: Session;
  storage: Storage;
  writer: Writer;
  rest: Rest;
  link: Link;
  history: History;
  sender: Sender;
  conversations: Conversations;
  people: People;
  groups: Groups;
  /** Undefined: never connected. Empty: the server did not understand it, so what is stored may have gaps. */
  cursor: string | undefined;
  cursorSavedAt: number;
  cancelHomecoming: () => void;
  ended: boolean;
}

export class Engine {
  readonly store: ChatStore = createChatStore();
  private readonly routing: Routing;
  private life: Life | undefined;

  constructor(private readonly env: Environment) {
    this.routing = new Routing({
      clock: env.clock,
      origin: env.origin,
      as: () => cityOf(this.store.getState().city)?.address,
      onRoute: (route) => this.store.setState({ route }),
    });
    env.onChange((what) => this.changed(what));
  }

  /** start finds out who is signed in here, and goes on as that person. */
  async start(): Promise<void> {
    const simulate = await this.readSimulate();
    this.store.setState({ simulate, city: simulate ? accounts.readCity() : undefined });
    const account = accounts.currentAccount();
    if (account) await this.begin(account);
    else this.store.setState({ phase: 'signed-out' });
  }

  /** signIn throws RestError with a text for the person when the server refuses. */
  async signIn(ask: SignIn): Promise<void> {
    const name = ask.kind === 'login' ? await namePrefix(ask.username) : undefined;
    await this.routing.askForSignIn({ ...(ask.zone ? { zone: ask.zone } : {}), ...(name ? { name } : {}) });
    const rest = new Rest({ bases: () => this.routing.bases(), failed: (base) => this.routing.endpoints.failed(base) });
    const body = { username: ask.username, password: ask.password, device: this.env.device };
    const tokens = ask.kind === 'login' ? await rest.login(body) : await this.signUp(rest, { ...body, ...(ask.zone ? { zone: ask.zone } : {}) });
    const account = accounts.accountOf(tokens, this.env.clock.now());
    accounts.saveAccount(account);
    accounts.useInThisTab(account.user_id);
    await this.begin(account);
  }

  /** switchTo goes on as another account of this device, in this tab; undefined asks who. */
  async switchTo(user_id: string | undefined): Promise<void> {
    this.end();
    const account = user_id === undefined ? undefined : accounts.readAccount(user_id);
    if (!account) {
      accounts.leaveTab();
      this.store.setState({ phase: 'signed-out' });
      return;
    }
    accounts.useInThisTab(account.user_id);
    await this.begin(account);
  }

  /** signOut ends the session on the server as far as that can be reached, and deletes what this device keeps. */
  async signOut(): Promise<void> {
    const life = this.life;
    if (!life) return;
    await life.rest.logout().catch(() => undefined);
    this.end();
    accounts.forgetAccount(life.account.user_id);
    this.store.setState({ phase: 'signed-out' });
    await life.storage.destroy().catch(() => undefined);
  }

  /** setCity says where in the world this tab pretends to be, and moves to the region that fits. */
  async setCity(city: string | undefined): Promise<void> {
    accounts.saveCity(city);
    this.store.setState({ city });
    await this.reroute();
    this.life?.link.move();
  }

  send(conversation_id: string, text: string, reply_to?: string): void {
    const conversation = this.store.getState().conversations[conversation_id];
    if (!this.life || !conversation || text.trim() === '' || this.isTooLong(text)) return;
    void this.life.sender.send(conversation_id, text, reply_to);
    this.life.link.touch();
  }

  /** change edits or deletes a message, or sets a reaction of ours to it. */
  change(conversation_id: string, message_id: string, wish: Wish): void {
    const { timelines, aliases } = this.store.getState();
    const id = resolve(aliases, message_id);
    const row = timelines[conversation_id]?.rows.find((one) => one.id === id);
    if (!this.life || !row || row.deleted) return;
    if (wish.kind === 'edit' && (wish.text.trim() === '' || wish.text === row.body.text || this.isTooLong(wish.text))) return;
    void this.life.sender.change(row, wish);
    this.life.link.touch();
  }

  retry = (client_id: string): void => this.life?.sender.retry(client_id);
  discard = (client_id: string): void => this.life?.sender.remove(client_id);
  openConversation = (id: string | undefined): void => this.life?.conversations.open(id);
  older = (id: string): Promise<boolean> => this.life?.history.older(id) ?? Promise.resolve(false);
  markRead = (id: string, message_id: string): void => this.life?.conversations.markRead(id, message_id);
  typing = (id: string): void => this.life?.conversations.typing(id);
  startChat = (username: string): Promise<void> => this.life?.people.startChat(username) ?? Promise.resolve();
  addContact = (username: string): Promise<void> => this.life?.people.addContact(username) ?? Promise.resolve();
  removeContact = (username: string): Promise<void> => this.life?.people.removeContact(username) ?? Promise.resolve();
  setBlock = (username: string, on: boolean): Promise<void> => this.life?.people.setBlock(username, on) ?? Promise.resolve();
  createGroup = (client_id: string, name: string, members: string[]): Promise<void> =>
    this.life?.groups.create(client_id, name, members) ?? Promise.resolve();
  renameGroup = (id: string, name: string): Promise<void> => this.life?.groups.rename(id, name) ?? Promise.resolve();
  setMember = (id: string, username: string, role: 'member' | 'admin'): Promise<void> =>
    this.life?.groups.setMember(id, username, role) ?? Promise.resolve();
  removeMember = (id: string, username: string): Promise<void> => this.life?.groups.removeMember(id, username) ?? Promise.resolve();
  loadGroup = (id: string): Promise<void> => this.life?.groups.load(id) ?? Promise.resolve();
  dismissNotice = (): void => this.store.setState({ notice: undefined });

  private isTooLong(text: string): boolean {
    if (new TextEncoder().encode(text).length <= this.store.getState().text_bytes) return false;
    this.store.setState({ notice: 'This message is too long. Send it in parts.' });
    return true;
  }

  // A sign-up whose answer got lost may have worked: then the name is taken, by us.
  private async signUp(rest: Rest, body: { username: string; password: string; device: string; zone?: string }): Promise<Tokens> {
    let lost = false;
    const watching = new Rest({
      bases: () => this.routing.bases(),
      failed: (base) => {
        lost = true;
        this.routing.endpoints.failed(base);
      },
    });
    try {
      return await watching.signup(body);
    } catch (error) {
      if (!lost || !(error instanceof RestError) || error.code !== 'username_taken') throw error;
      return rest.login(body).catch(() => Promise.reject(error));
    }
  }

  private async readSimulate(): Promise<boolean> {
    try {
      const answer = await fetch(`${this.env.origin}/v1/up.json`, { cache: 'no-store', signal: AbortSignal.timeout(2_000) });
      return answer.ok && ((await answer.json()) as { simulate?: unknown }).simulate === true;
    } catch {
      return accounts.readCity() !== undefined; // the server is away; it was a simulating one before
    }
  }

  private async begin(account: Account): Promise<void> {
    const storage = await this.env.openStorage(account.user_id);
    const loaded = await storage.load();
    const life = this.createLife(account, storage, loaded);
    this.life = life;
    const { simulate, city, route } = this.store.getState();
    this.store.setState({
      ...initialState,
      simulate,
      city,
      route,
      phase: 'ready',
      me: { user_id: account.user_id, username: account.username, home_zone: account.home_zone,
        ...(account.display_name === undefined ? {} : { display_name: account.display_name }) },
      conversations: Object.fromEntries(loaded.conversations.map((row) => [row.id, row])),
      listed: loaded.conversations.length > 0,
      held: byConversation(loaded.held),
      aliases: loaded.aliases,
      outbox: loaded.outbox,
    });
    const known = this.routing.recall(account.user_id);
    const asked = this.reroute();
    if (!known) await asked;
    if (life.ended) return;
    life.link.start();
    // The remembered list may be of yesterday: move when the fresh one says so.
    if (known) void asked.then(() => life.link.move());
  }

  private createLife(account: Account, storage: Storage, loaded: Loaded): Life {
    const { clock } = this.env;
    const { endpoints } = this.routing;
    const anonymous = new Rest({ bases: () => this.routing.bases(this.life?.link.endpoint), failed: (base) => endpoints.failed(base) });
    const session = new Session(account, { clock, rest: anonymous, onEnded: () => this.sessionEnded() });
    const rest = new Rest({
      bases: () => this.routing.bases(this.life?.link.online ? this.life.link.endpoint : undefined),
      token: (renew) => session.token(renew),
      failed: (base) => endpoints.failed(base),
    });
    const writer = new Writer(storage, () => this.store.setState({ notice: 'This device cannot store messages: its disk may be full.' }));
    const history = new History({ store: this.store, storage, writer, rest }, loaded.floors);
    const link = this.createLink(session);
    const conversations = new Conversations({ clock, store: this.store, writer, rest, history, link, loadGroup: (id) => groups.load(id) });
    const groups = new Groups({ store: this.store, writer, rest, conversations });
    const people = new People({ store: this.store, writer, rest, conversations });
    const sender = new Sender({ clock, store: this.store, writer, transmit: (frame) => link.send(frame), refetch: conversations.refetch });
    return { account, session, storage, writer, rest, link, history, sender, conversations, people, groups,
      cursor: loaded.cursor, cursorSavedAt: 0, cancelHomecoming: () => {}, ended: false };
  }

  private createLink(session: Session): Link {
    return new Link({
      clock: this.env.clock,
      endpoints: this.routing.endpoints,
      ...(this.env.openSocket ? { open: this.env.openSocket } : {}),
      hello: () => this.hello(session),
      urgent: () => this.env.visible() || this.store.getState().outbox.length > 0,
      onStatus: (link) => {
        const was = this.store.getState().link;
        const moved = link.state === 'online' && was.state === 'online' && was.region !== link.region;
        this.store.setState({ link, ...(link.state === 'online' && !moved ? {} : { rtt_ms: undefined }) });
      },
      onWelcome: (frame) => this.welcomed(frame),
      onFrame: (frame) => this.received(frame),
      onRtt: (rtt_ms) => this.store.setState({ rtt_ms }),
      onRefused: (frame) => this.helloRefused(frame),
      onUnauthorized: () => session.refused(),
      onLost: () => void this.reroute(),
    });
  }

  private async hello(session: Session): Promise<HelloFrame | undefined> {
    const token = await session.token();
    if (token === undefined) return undefined;
    const as = cityOf(this.store.getState().city)?.address;
    const cursor = this.life?.cursor;
    return { t: 'hello', token, device: this.env.device, ...(cursor ? { resume: cursor } : {}), ...(as ? { as } : {}) };
  }

  private welcomed(frame: WelcomeFrame): void {
    const life = this.life;
    if (!life) return;
    const { me } = this.store.getState();
    const text_bytes = frame.limits?.text_bytes;
    this.store.setState({ max_level: frame.max_level, ...(text_bytes ? { text_bytes } : {}), ...(me ? { me: { ...me, home_zone: frame.home_zone } } : {}) });
    const reset = frame.reset === true || life.cursor === '';
    const resumed = life.cursor !== undefined && !reset;
    if (reset) this.reset(life);
    if (!resumed) {
      // Everything up to here comes from the lists; what follows, as events.
      life.cursor = frame.cursor;
      void life.writer.add({ cursor: frame.cursor });
    }
    life.sender.restart(frame.limits?.client_outbox_ms);
    life.conversations.linked();
    if (!resumed || !life.people.loaded) void life.people.load();
    const { endpoints } = this.routing;
    if (endpoints.all().every(({ region }) => region === '')) endpoints.replace(frame.endpoints); // no router answered yet
    this.watchForHome(life);
  }

  /** reset forgets the stored past, for the server's log no longer reaches back to the cursor. The outbox stays. */
  private reset(life: Life): void {
    const { open } = this.store.getState();
    void life.writer.add({ reset: true });
    life.history.forget();
    this.store.setState({ timelines: {}, held: {}, aliases: {} });
    if (open !== undefined) life.conversations.open(open);
  }

  private received(frame: ServerFrame): void {
    const life = this.life;
    if (!life) return;
    switch (frame.t) {
      case 'ack':
        return life.sender.acknowledged(frame);
      case 'message':
      case 'alias':
      case 'edit':
      case 'delete':
      case 'react':
      case 'failed':
      case 'group':
      case 'receipt':
      case 'contact':
        return this.happened(life, frame);
      case 'typing':
        return life.conversations.peerTypes(frame.conversation_id, userIdOf(frame.user));
      case 'presence': {
        const user = userIdOf(frame.user);
        if (user !== undefined) life.people.present(user, frame.state, frame.last_seen);
        return;
      }
      case 'pong':
        return this.caughtUp(life, frame.cursor);
      case 'error':
        return this.refused(life, frame);
    }
  }

  private happened(life: Life, frame: EventFrame): void {
    const effect = applyEvent(this.store.getState(), frame);
    this.store.setState(effect.state);
    life.cursor = frame.cursor;
    void life.writer.add(effect.batch);
    if (effect.refetch) life.conversations.refetch();
    if (effect.reread !== undefined) life.conversations.reread(effect.reread);
    if (effect.group !== undefined) life.groups.changed(effect.group);
  }

  /** caughtUp takes the cursor of a quiet link: nothing came, but the log went on. It is not worth a write each time. */
  private caughtUp(life: Life, cursor: string | undefined): void {
    if (!cursor || cursor === life.cursor) return;
    life.cursor = cursor;
    const now = this.env.clock.now();
    if (now - life.cursorSavedAt < cursorEvery_ms) return;
    life.cursorSavedAt = now;
    void life.writer.add({ cursor });
  }

  /** helloRefused gives up a cursor that the server cannot read: the next hello goes without, and starts anew. */
  private helloRefused(frame: ErrorFrame): void {
    const life = this.life;
    if (life?.cursor && frame.code === 'invalid') life.cursor = '';
  }

  private refused(life: Life, frame: ErrorFrame): void {
    if (life.sender.failed(frame)) return;
    if (frame.code === 'unauthorized') life.session.refused();
    // Errors about typing and read marks, and what the link handles itself, are not the person's business.
  }

  /** reroute asks for the present list of regions. Nobody answering leaves the old one. */
  private async reroute(): Promise<void> {
    const life = this.life;
    const token = await life?.session.token();
    try {
      await this.routing.ask(token);
    } catch {
      const { endpoints } = this.routing;
      if (endpoints.all().length === 0) endpoints.replace([{ region: '', url: this.env.origin }]);
    }
  }

  /** watchForHome returns to the best region once it serves again, without being told to. */
  private watchForHome(life: Life): void {
    life.cancelHomecoming();
    life.cancelHomecoming = this.env.clock.after(homecoming_ms * (0.75 + this.env.clock.random() / 2), () => {
      const link = this.store.getState().link;
      if (life.ended || link.state !== 'online') return;
      if (this.isBest(link.endpoint, this.store.getState().route)) return this.watchForHome(life);
      void this.reroute().then(() => {
        if (life.ended) return;
        if (!this.isBest(link.endpoint, this.store.getState().route)) life.link.move(2_000);
        this.watchForHome(life);
      });
    });
  }

  private isBest(endpoint: Endpoint, route: Route | undefined): boolean {
    const best = route?.endpoints[0];
    return !best || best.url.replace(/\/+$/, '') === endpoint.url;
  }

  private changed(what: 'seen' | 'network'): void {
    if (what === 'network') this.routing.endpoints.forgive();
    if (this.env.visible()) this.life?.link.nudge();
    else this.life?.link.touch();
  }

  private sessionEnded(): void {
    const life = this.life;
    this.end();
    if (life) accounts.forgetAccount(life.account.user_id);
    this.store.setState({ phase: 'signed-out', notice: 'You were signed out. Sign in again to go on.' });
  }

  private end(): void {
    const life = this.life;
    if (!life) return;
    life.ended = true;
    life.cancelHomecoming();
    life.sender.stop();
    life.link.stop();
    life.conversations.stop();
    this.life = undefined;
    const { simulate, city } = this.store.getState();
    this.store.setState({ ...initialState, simulate, city });
    void life.writer.add({}).then(() => life.storage.close());
  }
}

function byConversation(held: readonly Held[]): ChatState['held'] {
  const sorted: Record<string, Held[]> = {};
  for (const one of held) (sorted[one.conversation_id] ??= []).push(one);
  return sorted;
}
