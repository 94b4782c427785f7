import { useId } from 'react';
import { cities } from '../engine/cities';
import { useChat, useEngine } from './context';
import { PinIcon } from './icons';

/** CitySelect lets a person try the world from one desk. It exists only where the server takes our word for the place. */
export function CitySelect() {
  const engine = useEngine();
  const simulate = useChat((state) => state.simulate);
  const city = useChat((state) => state.city);
  const id = useId();
  if (!simulate) return null;
  return (
    <div className="city">
      <label htmlFor={id}>
        <PinIcon />
        Where am I
      </label>
      <select
        id={id}
        data-testid="city-select"
        value={city ?? ''}
        onChange={(event) => void engine.setCity(event.target.value || undefined)}
      >
        <option value="">Where this machine is</option>
        {cities.map(({ id: value, name, country }) => (
          <option key={value} value={value}>
            {name}, {country}
          </option>
        ))}
      </select>
    </div>
  );
}
