package android.graphics;

/** Holds pixels, so that what reads them can be run. */
public final class Bitmap {
  public enum Config { ARGB_8888, HARDWARE }

  private final int[] argb;
  private final int width;
  private final Config config;
  private boolean recycled;

  public Bitmap(int[] argb, int width, Config config) {
    this.argb = argb;
    this.width = width;
    this.config = config;
  }

  public static Bitmap createBitmap(int[] colors, int width, int height, Config config) {
    return new Bitmap(colors.clone(), width, config);
  }

  public Bitmap copy(Config config, boolean isMutable) { return new Bitmap(argb.clone(), width, config); }
  public Config getConfig() { return config; }
  public int getWidth() { return width; }
  public int getHeight() { return argb.length / width; }
  public void recycle() { recycled = true; }
  public final boolean isRecycled() { return recycled; }

  public void getPixels(int[] pixels, int offset, int stride, int x, int y, int width, int height) {
    if (config == Config.HARDWARE) throw new IllegalStateException("unable to getPixels()");
    for (int row = 0; row < height; row++) {
      System.arraycopy(argb, (y + row) * this.width + x, pixels, offset + row * stride, width);
    }
  }
}
