// One conversation's messages in memory. Pure functions; the lists are never changed in place.
//
// Everything from `floor` upward is known: pages of history lower it, and live events keep it true, for the cursor
// guarantees that none is missing. Below it a message may be known by chance (it was slow); it is shown once paging
// comes there.

import { compareIds, orderKey } from '../protocol/ids';
import type { Message } from '../protocol/types';
import { applyChange, combine, sameContent } from './changes';
import type { Held } from './changes';
import { sendOf, toRow } from './rows';
import type { Row } from './rows';

/** Aliases say under which id a message is known now; ids that lost name those that took their place. */
export type Aliases = Readonly<Record<string, string>>;

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
  /** Ids that lost to others: old → new. */
  aliases: Record<string, string>;
}

/**
 * merge takes messages in. The same send under another id is the same message: the newest word about its id counts,
 * for it comes from the region that serves us now, and an alias sets it right if an older id should win after all.
 */
export function merge(timeline: Timeline, messages: readonly Message[]): TimelineChange {
  const byId = new Map(timeline.rows.map((row) => [row.id, row]));
  const bySend = new Map(timeline.rows.map((row) => [sendOf(row), row]));
  const change: TimelineChange = { timeline, put: [], removed: [], added: [], aliases: {} };
  for (const message of messages) {
    const same = byId.get(message.id) ?? bySend.get(sendOf(message));
    const row = same ? combine(same, message) : toRow(message);
    if (same && sameContent(same, row)) continue;
    if (same && same.id !== row.id) {
      byId.delete(same.id);
      change.removed.push(same);
      change.aliases[same.id] = row.id;
    } else if (!same) change.added.push(row);
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
  if (!old || from === to) return { timeline, put: [], removed: [], added: [], aliases: {} };
  const known = timeline.rows.find((row) => row.id === to);
  const rest = timeline.rows.filter((row) => row !== old && row !== known);
  const row = known ? combine(old, known) : { ...old, id: to, key: orderKey(to) };
  return {
    timeline: { ...timeline, rows: sorted([...rest, row]) },
    put: known && sameContent(known, row) ? [] : [row],
    removed: [old],
    added: [],
    aliases: {},
  };
}

/** withAlias adds an alias. What it names last is where the message is: an older alias of that id is over. */
export function withAlias(aliases: Aliases, from: string, to: string): Aliases {
  if (from === to || aliases[from] === to) return aliases;
  const { [to]: _, ...rest } = aliases;
  return { ...rest, [from]: to };
}

/** resolve gives the id under which a message is known now, for any id that it ever had. */
export function resolve(aliases: Aliases, id: string): string {
  let now = id;
  // No chain is longer than there are regions; the bound is for what no server says.
  for (let step = 0; step < 16 && aliases[now] !== undefined; step++) now = aliases[now]!;
  return now;
}

/** settle applies the held changes whose messages are here, and gives those that still wait. */
export function settle(change: TimelineChange, held: readonly Held[], aliases: Aliases): { change: TimelineChange; left: Held[] } {
  if (held.length === 0) return { change, left: [] };
  const byId = new Map(change.timeline.rows.map((row) => [row.id, row]));
  const changed = new Map<string, Row>();
  const left: Held[] = [];
  for (const one of held) {
    // Under the very id that it names, too: an alias may be known before the row has followed it.
    const row = byId.get(resolve(aliases, one.message_id)) ?? byId.get(one.message_id);
    if (!row) {
      left.push(one);
      continue;
    }
    const next = applyChange(row, one);
    if (next === row) continue;
    byId.set(row.id, next);
    changed.set(row.id, next);
  }
  if (changed.size === 0) return { change, left };
  const newest = (row: Row) => changed.get(row.id) ?? row;
  const put = new Map([...change.put.map(newest), ...changed.values()].map((row) => [row.id, row]));
  const timeline = { ...change.timeline, rows: change.timeline.rows.map(newest) };
  return { change: { ...change, timeline, put: [...put.values()], added: change.added.map(newest) }, left };
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
