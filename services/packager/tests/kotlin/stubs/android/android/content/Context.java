package android.content;

import android.content.res.AssetManager;

public abstract class Context {
  public ContentResolver getContentResolver() { return null; }
  public AssetManager getAssets() { return null; }
  public final String getString(int id, Object... arguments) { return null; }
}
