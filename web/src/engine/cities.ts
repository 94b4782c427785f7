// Places to be in, for a server that lets its clients say so (`meridian up`). Each address is one of a university, a
// broadcaster or a network operator of that place; the router treats it like the address of anybody there.

export interface City {
  id: string;
  name: string;
  country: string;
  address: string;
}

export const cities: readonly City[] = [
  { id: 'paris', name: 'Paris', country: 'France', address: '212.27.40.240' },
  { id: 'london', name: 'London', country: 'United Kingdom', address: '212.58.244.20' },
  { id: 'frankfurt', name: 'Frankfurt', country: 'Germany', address: '194.25.0.60' },
  { id: 'madrid', name: 'Madrid', country: 'Spain', address: '80.58.61.250' },
  { id: 'new-york', name: 'New York', country: 'United States', address: '128.59.1.3' },
  { id: 'san-francisco', name: 'San Francisco', country: 'United States', address: '128.32.136.9' },
  { id: 'toronto', name: 'Toronto', country: 'Canada', address: '128.100.100.128' },
  { id: 'sao-paulo', name: 'São Paulo', country: 'Brazil', address: '200.160.0.8' },
  { id: 'mexico-city', name: 'Mexico City', country: 'Mexico', address: '132.248.10.2' },
  { id: 'mumbai', name: 'Mumbai', country: 'India', address: '203.94.227.70' },
  { id: 'singapore', name: 'Singapore', country: 'Singapore', address: '165.21.83.88' },
  { id: 'tokyo', name: 'Tokyo', country: 'Japan', address: '133.11.0.1' },
  { id: 'seoul', name: 'Seoul', country: 'South Korea', address: '168.126.63.1' },
  { id: 'sydney', name: 'Sydney', country: 'Australia', address: '129.78.5.8' },
  { id: 'cape-town', name: 'Cape Town', country: 'South Africa', address: '137.158.1.1' },
  { id: 'dubai', name: 'Dubai', country: 'United Arab Emirates', address: '213.42.20.20' },
];

export function cityOf(id: string | undefined): City | undefined {
  return cities.find((city) => city.id === id);
}
