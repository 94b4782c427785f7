// What happened to a group, in words. Pure.

import { stepKey } from '../engine/steps';
import type { Step } from '../engine/steps';
import type { UserRef } from '../protocol/types';
import { formatNames } from './names';

/** Note is a quiet line between two messages. */
export interface Note {
  key: string;
  at: number;
  text: string;
}

/** notesOf gives the lines of steps with no message between them: those who joined one after the other share one. */
export function notesOf(steps: readonly Step[], me: string): Note[] {
  const notes: Note[] = [];
  let joined: string[] = [];
  for (const step of steps) {
    if (step.change !== 'joined') joined = [];
    else if (step.user.id === me) joined.unshift('You');
    else joined.push(step.user.username);
    if (joined.length > 1) notes.at(-1)!.text = `${formatNames(joined)} joined`;
    else notes.push({ key: stepKey(step), at: Date.parse(step.at), text: textOf(step, me) });
  }
  return notes;
}

function textOf(step: Step, me: string): string {
  switch (step.change) {
    case 'joined':
    case 'left':
      return `${nameOf(step.user, me, 'You')} ${step.change}`;
    case 'removed':
      return `${nameOf(step.user, me, 'You')} ${step.user.id === me ? 'were' : 'was'} removed by ${nameOf(step.by, me, 'you')}`;
    case 'renamed':
      return `${nameOf(step.by, me, 'You')} renamed the group to “${step.name}”`;
  }
}

function nameOf(user: UserRef, me: string, own: string): string {
  return user.id === me ? own : user.username;
}
