// A page that is rendered for each request, with data that is stored.
export const dynamic = 'force-dynamic';

export default async function Page() {
  const options = { cache: 'force-cache', next: { tags: ['data'], revalidate: 3600 } };
  const count = await fetch(`${process.env.ORIGIN}/data`, options).then((response) => response.text());
  return <p>{`[${count}]`}</p>;
}
