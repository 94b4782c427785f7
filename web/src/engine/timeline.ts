// One conversation's messages in memory. Pure functions; the lists are never changed in place.
//
// Everything from `floor` upward is known: pages of history lower it, and live events keep it true, for the cursor
// guarantees that none is missing. Below it a message may be known by chance (it was slow); it is shown once paging
// comes there.

import { compareIds, orderKey } from '../protocol/ids';
import type { Message } from '../protocol/types';

/** Row is a message with the text that sorts it. */
export interface Row extends Message {
  key: string;
}

export interface Timeline {
  /** Sorted by key, no id and no (sender, client_id) twice. */
  rows: readonly Row[];
  /** The oldest message id from which on all is known; "" when the beginning is; undefined before the first page. */
  floor: string | undefined;
}

export const emptyTimeline: Timeline = { rows: [], floor: undefined };

/** A changed timeline, with what storage has to follow. */
export interface TimelineChange {
  timeline: Timeline;
  put: Row[];
  /** Rows that another id replaced. */
  removed: Row[];
  /** Rows that nothing was known of before. */
  added: Row[];
}

export function toRow(message: Message): Row {
  return { ...message, key: orderKey(message.id) };
}

/** sendOf names the send that a message came from. Only with its sender is a client_id anybody's own. */
export function sendOf(message: Pick<Message, 'sender' | 'client_id'>): string {
  return `${message.sender.id}/${message.client_id}`;
}

/**
 * merge takes messages in. The same send under another id is the same message: the newest word about its id counts,
 * for it comes from the region that serves us now, and an alias sets it right if an older id should win after all.
 */
export function merge(timeline: Timeline, messages: readonly Message[]): TimelineChange {
  const byId = new Map(timeline.rows.map((row) => [row.id, row]));
  const bySend = new Map(timeline.rows.map((row) => [sendOf(row), row]));
  const change: TimelineChange = { timeline, put: [], removed: [], added: [] };
  for (const message of messages) {
    if (byId.has(message.id)) continue;
    const row = toRow(message);
    const same = bySend.get(sendOf(row));
    if (same) {
      byId.delete(same.id);
      change.removed.push(same);
    } else change.added.push(row);
    byId.set(row.id, row);
    bySend.set(sendOf(row), row);
    change.put.push(row);
  }
  if (change.put.length > 0) change.timeline = { ...timeline, rows: sorted([...byId.values()]) };
  return change;
}

/** rename gives a message the id that won for its send. */
export function rename(timeline: Timeline, from: string, to: string): TimelineChange {
  const old = timeline.rows.find((row) => row.id === from);
  if (!old || from === to) return { timeline, put: [], removed: [], added: [] };
  const rest = timeline.rows.filter((row) => row !== old);
  const known = rest.some((row) => row.id === to);
  const row = { ...old, id: to, key: orderKey(to) };
  return {
    timeline: { ...timeline, rows: known ? rest : sorted([...rest, row]) },
    put: known ? [] : [row],
    removed: [old],
    added: [],
  };
}

/** lower notes that everything from floor on is known now. */
export function lower(timeline: Timeline, floor: string): Timeline {
  const lowest = timeline.floor === undefined || floor === '' || compareFloor(floor, timeline.floor) < 0;
  return lowest ? { ...timeline, floor } : timeline;
}

/** shown gives the rows without a gap between them. Before the first page those are what came live. */
export function shown(timeline: Timeline): readonly Row[] {
  if (timeline.floor === undefined || timeline.floor === '') return timeline.rows;
  const from = orderKey(timeline.floor);
  const first = timeline.rows.findIndex((row) => row.key >= from);
  return first === 0 ? timeline.rows : first < 0 ? [] : timeline.rows.slice(first);
}

/** trim keeps the newest rows of a conversation that left the screen, and knows that older ones have to be read again. */
export function trim(timeline: Timeline, keep: number): Timeline {
  const rows = shown(timeline);
  if (timeline.floor === undefined || rows.length <= keep) return timeline;
  const kept = rows.slice(-keep);
  return { rows: kept, floor: kept[0]!.id };
}

function compareFloor(a: string, b: string): number {
  if (a === '' || b === '') return a === b ? 0 : a === '' ? -1 : 1;
  return compareIds(a, b);
}

function sorted(rows: Row[]): Row[] {
  return rows.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
}
