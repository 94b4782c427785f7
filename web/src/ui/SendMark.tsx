import { AlertIcon, CheckIcon, ClockIcon, DoubleIcon, ShieldIcon } from './icons';
import { stateText } from './items';
import type { SendState } from './items';

const marks = { pending: ClockIcon, sent: CheckIcon, safe: ShieldIcon, delivered: DoubleIcon, read: DoubleIcon, failed: AlertIcon };

/** SendMark shows how far an own message got. */
export function SendMark({ state }: { state: SendState }) {
  const Mark = marks[state];
  return (
    <span className={`mark mark-${state}`} title={stateText[state]}>
      <Mark />
    </span>
  );
}
