import { useEffect, useRef, useState } from 'react';
import { explain } from './explain';

/** useAction runs what a button asks for and keeps the reason when it was refused. */
export function useAction(): { failure: string | undefined; run: (work: Promise<void>, then?: () => void) => void } {
  const [failure, setFailure] = useState<string>();
  const alive = useRef(true);
  useEffect(() => {
    alive.current = true;
    return () => {
      alive.current = false;
    };
  }, []);
  return {
    failure,
    run: (work, then) => {
      setFailure(undefined);
      work.then(
        () => alive.current && then?.(),
        (error: unknown) => alive.current && setFailure(explain(error)),
      );
    },
  };
}
