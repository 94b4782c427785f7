// Reading a conversation's past: from this device as far as it goes, then from the server, page by page.

import { atOrBefore, orderKey } from '../protocol/ids';
import { RestError } from '../protocol/rest';
import type { Rest } from '../protocol/rest';
import type { Message } from '../protocol/types';
import type { Batch, Storage, Writer } from '../store/storage';
import { timelineEffect } from './effects';
import type { ChatStore } from './state';
import { emptyTimeline, lower, merge, shown, trim } from './timeline';
import type { Row } from './rows';
import type { Timeline } from './timeline';

export const historyLimits = {
  page: 50,
  /** Rows read from the device when a conversation opens. */
  first: 200,
  /** Pages fetched at most to open at the first unread message; `unread` itself stops counting at 100. */
  unreadPages: 3,
  /** Rows kept in memory of a conversation that is not on the screen. */
  kept: 200,
};

export interface HistoryOptions {
  store: ChatStore;
  storage: Storage;
  writer: Writer;
  rest: Pick<Rest, 'messages'>;
}

export class History {
  /** How far down the device has each conversation whole. */
  private floors: Record<string, string>;
  private busy = new Map<string, Promise<boolean>>();

  constructor(
    private readonly options: HistoryOptions,
    floors: Record<string, string>,
  ) {
    this.floors = { ...floors };
  }

  /** forget drops what is known, for a `reset`: the log does not tell what happened in between. */
  forget(): void {
    this.floors = {};
    this.busy.clear();
  }

  /** reread makes the newest pages be read from the server again; what is in memory stays where it is. */
  reread(conversation_id: string): void {
    delete this.floors[conversation_id];
    this.busy.delete(conversation_id);
    const { timelines } = this.options.store.getState();
    const timeline = timelines[conversation_id];
    if (timeline) this.put(conversation_id, { ...timeline, floor: undefined });
  }

  /** open makes a conversation ready to be shown, down to the first message not yet read. */
  async open(conversation_id: string): Promise<void> {
    if (this.timeline(conversation_id).floor === undefined) {
      const stored = this.floors[conversation_id];
      if (stored === undefined || !(await this.readStored(conversation_id, stored, historyLimits.first))) {
        await this.older(conversation_id);
      }
    }
    for (let page = 0; page < historyLimits.unreadPages && this.unreadBelow(conversation_id); page++) {
      if (!(await this.older(conversation_id))) return;
    }
  }

  /** older brings one more page; false when there is none. It rejects when the server has to be asked and does not answer. */
  older(conversation_id: string): Promise<boolean> {
    const running = this.busy.get(conversation_id);
    if (running) return running;
    const work = this.nextPage(conversation_id).finally(() => {
      if (this.busy.get(conversation_id) === work) this.busy.delete(conversation_id);
    });
    this.busy.set(conversation_id, work);
    return work;
  }

  /** leave drops all but the newest rows from memory. */
  leave(conversation_id: string): void {
    const { store } = this.options;
    const timelines = store.getState().timelines;
    const timeline = timelines[conversation_id];
    if (timeline) store.setState({ timelines: { ...timelines, [conversation_id]: trim(timeline, historyLimits.kept) } });
  }

  private async nextPage(conversation_id: string): Promise<boolean> {
    const floor = this.timeline(conversation_id).floor;
    if (floor === '') return false;
    const stored = this.floors[conversation_id];
    if (floor !== undefined && stored !== undefined && stored !== floor) {
      if (await this.readStored(conversation_id, stored, historyLimits.page)) return true;
    }
    return this.fetchPage(conversation_id, floor);
  }

  /** readStored takes rows from the device; false when it has none further down. */
  private async readStored(conversation_id: string, stored: string, limit: number): Promise<boolean> {
    const floor = this.timeline(conversation_id).floor;
    const before = floor === undefined ? undefined : orderKey(floor);
    const rows = await this.options.storage.rows(conversation_id, before, limit);
    const lowest = stored === '' ? '' : orderKey(stored);
    const whole = rows.filter((row) => row.key >= lowest);
    const reached = rows.length < limit || whole.length < rows.length;
    if (whole.length === 0 && stored !== '') return false;
    this.take(conversation_id, whole, reached ? stored : whole[0]!.id);
    return whole.length > 0 || floor === undefined;
  }

  private async fetchPage(conversation_id: string, before: string | undefined): Promise<boolean> {
    const asked: Promise<{ messages: Message[]; next?: string }> = this.options.rest.messages(conversation_id, before, historyLimits.page);
    const page = await asked.catch((error: unknown) => {
      // A conversation that no message was sent in yet: all that will be in it comes live.
      if (before === undefined && error instanceof RestError && (error.status === 404 || error.status === 403)) return { messages: [] as Message[], next: undefined };
      throw error;
    });
    const stored = await this.known(conversation_id, before, page.messages);
    // A `reset` or another page may have come meanwhile; then this one joins nothing.
    if (this.timeline(conversation_id).floor !== before) return true;
    const oldest = page.messages.at(-1);
    const floor = page.next === undefined || !oldest ? '' : oldest.id;
    this.floors[conversation_id] = floor;
    this.take(conversation_id, [...stored, ...page.messages], floor, { floors: { [conversation_id]: floor } });
    return page.messages.length > 0;
  }

  /**
   * known gives what the device has of a page that was read from the server: a region may not yet know of an edit or a
   * deletion that another one told before.
   */
  private async known(conversation_id: string, before: string | undefined, page: readonly Message[]): Promise<Row[]> {
    const ids = new Set(page.map(({ id }) => id));
    const rows = await this.options.storage.rows(conversation_id, before === undefined ? undefined : orderKey(before), historyLimits.page);
    return rows.filter(({ id }) => ids.has(id));
  }

  /** take merges a page, with the changes that waited for its messages, and writes what is new on the device. */
  private take(conversation_id: string, messages: readonly Message[], floor: string, batch?: Batch): void {
    const { store, writer } = this.options;
    const timeline = this.timeline(conversation_id);
    const effect = timelineEffect(store.getState(), conversation_id, merge(timeline, messages));
    store.setState(effect.state);
    this.put(conversation_id, lower(this.timeline(conversation_id), floor));
    if (batch) return void writer.add({ ...effect.batch, ...batch });
    // Rows that came from the device are there already, but for those that a waiting change met.
    const stored = new Set<Message>(messages);
    const rows = (effect.batch.rows ?? []).filter((row) => !stored.has(row));
    if (rows.length > 0 || effect.batch.removedHeld) void writer.add({ ...effect.batch, rows });
  }

  private unreadBelow(conversation_id: string): boolean {
    const conversation = this.options.store.getState().conversations[conversation_id];
    const timeline = this.timeline(conversation_id);
    if (!conversation?.unread || timeline.floor === '') return false;
    const oldest = shown(timeline)[0];
    if (!oldest) return true;
    if (conversation.read === undefined) return shown(timeline).length < conversation.unread;
    return !atOrBefore(oldest.id, conversation.read);
  }

  private timeline(conversation_id: string): Timeline {
    return this.options.store.getState().timelines[conversation_id] ?? emptyTimeline;
  }

  private put(conversation_id: string, timeline: Timeline): void {
    const { store } = this.options;
    store.setState({ timelines: { ...store.getState().timelines, [conversation_id]: timeline } });
  }
}
