// People: contacts, blocks, who is there, and a first word to somebody new.

import { directConversation } from '../protocol/ids';
import type { Rest } from '../protocol/rest';
import type { Contact, ConversationRow, PresenceState, UserRef } from '../protocol/types';
import type { Writer } from '../store/storage';
import type { Conversations } from './conversations';
import { contactEffect } from './events';
import type { ChatStore } from './state';

const contactPages = 10; // of 100 each

export interface PeopleOptions {
  store: ChatStore;
  writer: Writer;
  rest: Rest;
  conversations: Conversations;
}

export class People {
  loaded = false;

  constructor(private readonly options: PeopleOptions) {}

  /** load gets contacts, blocks and the own profile. What does not answer now is asked again on the next link. */
  async load(): Promise<void> {
    const answers = await Promise.allSettled([this.loadContacts(), this.loadBlocks(), this.loadMe()]);
    this.loaded = answers.every(({ status }) => status === 'fulfilled');
  }

  present(user_id: string, state: PresenceState, last_seen: string | undefined): void {
    const { store } = this.options;
    const presence = { state, ...(last_seen ? { last_seen } : {}) };
    store.setState({ presence: { ...store.getState().presence, [user_id]: presence } });
  }

  /** startChat opens the conversation with a user. It throws RestError (unknown_user) when there is none of that name. */
  async startChat(username: string): Promise<void> {
    const { store, rest, conversations } = this.options;
    const me = store.getState().me;
    if (!me) return;
    const known = Object.values(store.getState().conversations).find((row) => row.kind === 'direct' && row.peer.username === username);
    if (known) return conversations.open(known.id);
    const user = await rest.user(username);
    if (user.user_id === me.user_id) throw new Error('That is you.');
    if (user.state) this.present(user.user_id, user.state, user.last_seen);
    const conversation: ConversationRow = {
      id: directConversation(me.user_id, user.user_id),
      kind: 'direct',
      peer: { id: user.user_id, username: user.username },
      state: 'accepted',
      unread: 0,
    };
    conversations.add(conversation);
    conversations.open(conversation.id);
  }

  /** addContact asks somebody, or accepts what they asked. */
  async addContact(username: string): Promise<void> {
    const contact = await this.options.rest.putContact(username);
    this.take(contact.user, contact.state);
    this.options.conversations.refetch();
  }

  async removeContact(username: string): Promise<void> {
    await this.options.rest.deleteContact(username);
    const contact = this.options.store.getState().contacts.find(({ user }) => user.username === username);
    if (contact) this.take(contact.user, 'none');
  }

  async setBlock(username: string, on: boolean): Promise<void> {
    const { store, rest, conversations } = this.options;
    await rest.setBlock(username, on);
    const all = store.getState().conversations;
    const conversation = Object.values(all).find((row) => row.kind === 'direct' && row.peer.username === username);
    if (conversation) {
      const changed: ConversationRow = { ...conversation, state: on ? 'blocked' : 'accepted' };
      store.setState({ conversations: { ...all, [conversation.id]: changed } });
    }
    await this.loadBlocks();
    conversations.refetch();
  }

  private async loadMe(): Promise<void> {
    const { rest, store } = this.options;
    const me = await rest.me();
    store.setState({ me: { ...store.getState().me, ...me, pinned: me.pinned ?? false } });
  }

  private async loadContacts(): Promise<void> {
    const contacts: Contact[] = [];
    let after: string | undefined;
    for (let page = 0; page < contactPages; page++) {
      const answer = await this.options.rest.contacts(after);
      contacts.push(...answer.contacts);
      after = answer.next;
      if (after === undefined) break;
    }
    contacts.sort((a, b) => a.user.username.localeCompare(b.user.username));
    this.options.store.setState({ contacts });
  }

  private async loadBlocks(): Promise<void> {
    const { blocks } = await this.options.rest.blocks();
    this.options.store.setState({ blocks });
  }

  private take(user: UserRef, state: Contact['state'] | 'none'): void {
    const { store, writer } = this.options;
    const effect = contactEffect(store.getState(), user, state);
    store.setState(effect.state);
    void writer.add(effect.batch);
  }
}
