// The list of conversations and the one on the screen.

import { compareIds, laterId } from '../protocol/ids';
import type { Rest } from '../protocol/rest';
import type { ConversationRow } from '../protocol/types';
import type { Writer } from '../store/storage';
import type { Clock } from './clock';
import type { History } from './history';
import type { Link } from './link';
import { applyList } from './lists';
import type { ChatStore } from './state';

export const conversationLimits = {
  /** Pages of the list that are fetched: 100 conversations each. */
  pages: 5,
  /** Several reasons to fetch the list within this time make one request. */
  gather_ms: 60,
  typingEvery_ms: 3_000,
  typingShown_ms: 5_000,
};

export interface ConversationsOptions {
  clock: Clock;
  store: ChatStore;
  writer: Writer;
  rest: Pick<Rest, 'conversations' | 'user'>;
  history: History;
  link: Pick<Link, 'send'>;
  /** Reads the members of a group from the server. */
  loadGroup: (id: string) => Promise<void>;
}

export class Conversations {
  private cancelFetch: (() => void) | undefined;
  private fetching = false;
  private again = false;
  private typedAt = new Map<string, number>();
  private stopped = false;

  constructor(private readonly options: ConversationsOptions) {}

  /** linked is for each new link: the list may have changed in ways that no event tells. */
  linked(): void {
    this.refetch();
    const { open } = this.options.store.getState();
    if (open !== undefined) void this.fill(open);
  }

  /** refetch gets the list from the server soon. */
  refetch = (): void => {
    if (this.fetching) {
      this.again = true;
      return;
    }
    this.cancelFetch ??= this.options.clock.after(conversationLimits.gather_ms, () => {
      this.cancelFetch = undefined;
      void this.fetch();
    });
  };

  stop(): void {
    this.stopped = true;
    this.cancelFetch?.();
  }

  /** open puts a conversation on the screen. */
  open(id: string | undefined): void {
    const { store, history } = this.options;
    const before = store.getState().open;
    store.setState({ open: id, opened: false });
    if (before !== undefined && before !== id) history.leave(before);
    if (id !== undefined) void this.fill(id);
  }

  /** markRead says that everything up to a message was seen. */
  markRead(id: string, message_id: string): void {
    const { store, writer, link } = this.options;
    const { conversations } = store.getState();
    const conversation = conversations[id];
    if (!conversation) return;
    if (conversation.unread === 0 && conversation.read !== undefined && compareIds(message_id, conversation.read) <= 0) return;
    const read = laterId(conversation.read, message_id)!;
    const changed: ConversationRow = { ...conversation, read, unread: 0 };
    store.setState({ conversations: { ...conversations, [id]: changed } });
    void writer.add({ conversations: [changed] });
    link.send({ t: 'read', conversation_id: id, message_id: read });
  }

  /** typing tells the other side, at most every few seconds, that something is being written. */
  typing(id: string): void {
    const now = this.options.clock.now();
    if (now - (this.typedAt.get(id) ?? -Infinity) < conversationLimits.typingEvery_ms) return;
    if (this.options.link.send({ t: 'typing', conversation_id: id })) this.typedAt.set(id, now);
  }

  /** peerTypes shows for a while that somebody else writes. A frame that names nobody is of the one other side. */
  peerTypes(id: string, user: string | undefined): void {
    const { store, clock } = this.options;
    const conversation = store.getState().conversations[id];
    const who = user ?? (conversation?.kind === 'direct' ? conversation.peer.id : undefined);
    if (who === undefined || who === store.getState().me?.user_id) return;
    const until = clock.now() + conversationLimits.typingShown_ms;
    const set = (change: (those: Record<string, number>) => Record<string, number>): void => {
      const { typing } = store.getState();
      store.setState({ typing: { ...typing, [id]: change({ ...typing[id] }) } });
    };
    set((those) => ({ ...those, [who]: until }));
    clock.after(conversationLimits.typingShown_ms, () => {
      if (this.stopped || store.getState().typing[id]?.[who] !== until) return;
      set(({ [who]: _, ...rest }) => rest);
    });
  }

  /** add shows a conversation that exists nowhere yet: the first message will make it. */
  add(conversation: ConversationRow): void {
    const { store } = this.options;
    const { conversations } = store.getState();
    if (!conversations[conversation.id]) {
      store.setState({ conversations: { ...conversations, [conversation.id]: conversation } });
    }
  }

  /** reread gets a conversation's newest messages again: more of them may be ours now than events told. */
  reread(id: string): void {
    this.options.history.reread(id);
    if (this.options.store.getState().open === id) void this.fill(id);
  }

  private async fill(id: string): Promise<void> {
    const { store, history, rest } = this.options;
    const group = store.getState().conversations[id]?.kind === 'group' ? this.options.loadGroup(id) : undefined;
    await history.open(id).catch(() => undefined); // not reachable now: the next link tries again
    const { open, timelines } = store.getState();
    if (open === id && timelines[id]?.floor !== undefined) store.setState({ opened: true });
    if (group) return group.catch(() => undefined);
    const conversation = store.getState().conversations[id];
    if (conversation?.kind !== 'direct' || store.getState().open !== id) return;
    const { peer } = conversation;
    const user = await rest.user(peer.username).catch(() => undefined);
    if (!user?.state || this.stopped) return;
    const presence = { state: user.state, ...(user.last_seen ? { last_seen: user.last_seen } : {}) };
    store.setState({ presence: { ...store.getState().presence, [peer.id]: presence } });
  }

  private async fetch(): Promise<void> {
    this.fetching = true;
    this.again = false;
    try {
      const list = await this.fetchAll();
      if (!this.stopped) this.take(list);
    } catch {
      // Nobody answers: the next link fetches again.
    } finally {
      this.fetching = false;
    }
    if (this.again && !this.stopped) this.refetch();
  }

  private async fetchAll(): Promise<ConversationRow[]> {
    const list: ConversationRow[] = [];
    let before: string | undefined;
    for (let page = 0; page < conversationLimits.pages; page++) {
      const answer = await this.options.rest.conversations(before);
      list.push(...answer.conversations);
      before = answer.next;
      if (before === undefined) break;
    }
    return list;
  }

  private take(list: ConversationRow[]): void {
    const { store, writer, link } = this.options;
    const effect = applyList(store.getState(), list);
    store.setState(effect.state);
    void writer.add(effect.batch);
    // Marks set while no region heard them.
    for (const row of list) {
      const read = store.getState().conversations[row.id]?.read;
      if (read !== undefined && read !== row.read) link.send({ t: 'read', conversation_id: row.id, message_id: read });
    }
    const { open, timelines } = store.getState();
    if (open !== undefined && timelines[open]?.floor === undefined) void this.fill(open);
  }
}
