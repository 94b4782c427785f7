import { expect, test } from 'vitest';
import type { EventFrame, GroupRow, Member } from '../protocol/types';
import { applyEvent } from './events';
import { applyList } from './lists';
import { initialState } from './state';
import { joinedOf, stepLimits, withSteps } from './steps';

const at = (second: number) => `2026-05-04T10:20:${String(second).padStart(2, '0')}.000Z`;
const user = (id: string) => ({ id, username: id });
const row: GroupRow = { id: 'conv', kind: 'group', name: 'trip', member_count: 3, role: 'member', state: 'accepted', unread: 0 };
const member = (id: string, second: number): Member => ({ user: user(id), role: 'member', since: at(second) });

/** after gives the group as these events leave it. */
function after(...events: Partial<EventFrame & { t: 'group' }>[]): GroupRow {
  let state = { ...initialState, me: { user_id: 'me', username: 'me', home_zone: 'world' }, conversations: { conv: row } };
  for (const more of events) {
    const frame = { t: 'group', cursor: 'c', conversation_id: 'conv', by: user('ana'), at: at(9), ...more } as EventFrame;
    state = { ...state, ...applyEvent(state, frame).state } as typeof state;
  }
  return state.conversations['conv'];
}

const told = ({ steps = [] }: GroupRow): string[] =>
  steps.map((step) => `${step.at.slice(17, 19)} ${step.change} ${step.change === 'renamed' ? step.name : step.user.id}`);

test('what a group went through is kept once, in the order of its times, in whatever order it is told', () => {
  const events = [
    { change: 'joined', user: user('bo'), at: at(1) },
    { change: 'renamed', name: 'tour', at: at(4) },
    { change: 'removed', user: user('cy'), at: at(3) },
    { change: 'left', user: user('bo'), by: user('bo'), at: at(5) },
    { change: 'joined', user: user('bo'), at: at(1) },
    { change: 'role', user: user('di'), role: 'admin', at: at(6) },
  ] as const;
  expect(told(after(...events))).toEqual(['01 joined bo', '03 removed cy', '04 renamed tour', '05 left bo']);
});

test('it outlives a fresh list from the server, and is bounded', () => {
  const group = after({ change: 'left', user: user('bo'), at: at(1) });
  const state = { ...initialState, conversations: { conv: group } };
  expect(told(applyList(state, [row]).state.conversations!['conv'] as GroupRow)).toEqual(['01 left bo']);
  const many = Array.from({ length: stepLimits.kept + 5 }, (_, i) => ({ change: 'renamed', name: `n${i}`, at: at(1) }) as const);
  const kept = after(...many).steps!;
  expect(kept.length).toBe(stepLimits.kept);
  expect(kept.at(-1)).toMatchObject({ name: `n${stepLimits.kept + 4}` });
});

test('members tell of joinings that no event told, of the time since one is there oneself', () => {
  const group = after({ change: 'joined', user: user('bo'), at: at(5) }, { change: 'left', user: user('cy'), at: at(7) });
  const members = [member('ana', 1), member('me', 4), member('bo', 5), member('di', 6)];
  const steps = withSteps(group.steps, joinedOf(members, 'me'));
  expect(told({ ...group, steps })).toEqual(['04 joined me', '05 joined bo', '06 joined di', '07 left cy']);
});
