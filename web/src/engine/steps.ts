// What happened to a group, as its conversation shows it. Pure.
//
// A region tells a step once, as an event; the history holds messages only. So this device keeps the steps that it was
// told of, and what the members say of when they came. On a new device, or where the log reached back no further, who had
// gone before shows nowhere, nor do earlier names.

import type { GroupFrame, Member, UserRef } from '../protocol/types';

export const stepLimits = {
  /** Steps kept of one group, the newest. */
  kept: 200,
};

export type Step =
  | { change: 'joined' | 'left'; at: string; user: UserRef }
  | { change: 'removed'; at: string; user: UserRef; by: UserRef }
  | { change: 'renamed'; at: string; by: UserRef; name: string };

/** stepKey names a step: the same one may be told twice, and by the members too. */
export function stepKey(step: Step): string {
  return `${step.at} ${step.change} ${step.change === 'renamed' ? step.name : step.user.id}`;
}

/** stepOf gives the step that an event tells of, if it is one to show. */
export function stepOf({ change, at, user, by, name }: GroupFrame): Step | undefined {
  if (change === 'renamed') return name === undefined ? undefined : { change, at, by, name };
  if (!user) return undefined;
  if (change === 'removed') return { change, at, user, by };
  return change === 'joined' || change === 'left' ? { change, at, user } : undefined;
}

/** withSteps keeps steps of a group beside those it knows, in the order of their times: one may be heard of late. */
export function withSteps(known: readonly Step[] = [], steps: readonly Step[]): readonly Step[] {
  const keys = new Set(known.map(stepKey));
  const added = steps.filter((step) => !keys.has(stepKey(step)));
  return added.length === 0 ? known : [...known, ...added].sort(byTime).slice(-stepLimits.kept);
}

/** joinedOf gives the joinings of those who are in a group, since one is there oneself. */
export function joinedOf(members: readonly Member[], me: string | undefined): Step[] {
  const own = members.find(({ user }) => user.id === me)?.since ?? '';
  return members.flatMap(({ user, since }): Step[] => (since === undefined || since < own ? [] : [{ change: 'joined', at: since, user }]));
}

/** byTime compares times of one form as texts. */
function byTime(a: Step, b: Step): number {
  return a.at < b.at ? -1 : a.at > b.at ? 1 : 0;
}
