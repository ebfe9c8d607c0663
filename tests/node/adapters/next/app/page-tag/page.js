// A page that is stored with the tag of its data.
export const revalidate = 3600;

export default async function Page() {
  const count = await fetch(`${process.env.ORIGIN}/page`, { next: { tags: ['page'] } }).then((response) => response.text());
  return <p>{`[${count}]`}</p>;
}
