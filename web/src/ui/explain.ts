import { RestError } from '../protocol/rest';

const texts: Record<string, string> = {
  bad_credentials: 'Username or password is wrong.',
  username_taken: 'This name, or one that looks like it, is taken.',
  zone_not_allowed: 'This server does not let you choose that place.',
  unreachable: 'No region can be reached. Check your connection and try again.',
  no_majority: 'New names cannot be given out right now, for too many regions are away. Try again in a minute.',
};

/** explain gives a sentence for a person. */
export function explain(error: unknown): string {
  if (error instanceof RestError) return texts[error.code] ?? error.message;
  return error instanceof Error ? error.message : 'Something went wrong.';
}
