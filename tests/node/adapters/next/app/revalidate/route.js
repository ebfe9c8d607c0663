import { revalidatePath, revalidateTag } from 'next/cache';

export const dynamic = 'force-dynamic';

export async function GET(request) {
  const { searchParams } = new URL(request.url);
  for (const tag of searchParams.getAll('tag')) revalidateTag(tag);
  for (const path of searchParams.getAll('path')) revalidatePath(path);
  return Response.json({ revalidated: true });
}
